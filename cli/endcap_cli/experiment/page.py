# SPDX-License-Identifier: Apache-2.0
"""A page about an experiment: one file, without scripts and without a network, everything escaped. Pure but for reading
its own template.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from endcap_api.assignment import Ranges
from endcap_cli.experiment.lift_chart import lift_chart
from endcap_cli.experiment.moments import moment
from endcap_cli.experiment.ratio_chart import ratio_chart
from endcap_cli.experiment.sentence import sentence
from endcap_cli.experiment.setup import setup
from endcap_cli.experiment.split import split_bar
from endcap_cli.experiment.standing import BAD, FINAL, Standing
from endcap_cli.terminal import escaped
from endcap_operator.plan.experiment.series import Point

HERE = Path(__file__).parent
COLOURS = 8  # as the style has; an experiment has at most as many variants
_TONES = {True: "good", False: "bad", None: "doubt"}
_STATES = {True: "as it should be", False: "amiss", None: "cannot be told"}
_GUARDED = {"ok": "good", "breached": "bad"}


def page(standing: Standing, ranges: Mapping[str, Ranges], coverage: float) -> str:
    """`ranges` are those at full coverage, `coverage` is percent of them."""
    return _template().render(
        **_style(), **_head(standing), **_charts(standing, ranges, coverage), **_tables(standing)
    )


@cache
def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, finalize=_printable, trim_blocks=True
    )
    return environment.from_string((HERE / "report.html.j2").read_text(encoding="utf-8"))


def _printable(value: Any) -> Any:
    """Control characters and those that turn the direction of text are shown by their number."""
    return escaped(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _style() -> dict[str, Any]:
    style = (HERE / "report.css").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    return {"style": Markup(style), "hash": digest}  # noqa: S704  a file of this package


def _head(standing: Standing) -> dict[str, Any]:
    spec, status = standing.spec, standing.status
    return {
        "name": standing.name.name,
        "namespace": standing.name.namespace,
        "phase": standing.phase,
        "tone": "bad" if standing.phase in BAD or standing.mismatch else "good" if standing.ended else "",
        "graph": spec.graph,
        "step": spec.step,
        "sentence": sentence(standing),
        "description": spec.description,
        "facts": list(_facts(standing)),
        "recommendation": str(status.get("recommendation") or "").splitlines(),
        "setup": list(setup(standing)),
    }


def _facts(standing: Standing) -> Iterator[tuple[str, str]]:
    status = standing.status
    units = status.get("units")
    named = {
        "units": f"{units:,}" if units is not None else None,
        "traffic": status.get("traffic"),
        "split": status.get("split"),
        "sample ratio": status.get("sampleRatio"),
        standing.spec.primary or "primary": status.get("primary"),
        "guardrails": status.get("guardrail"),
        "figures of": moment(str(status.get("analysedAt") or "")),
    }
    return ((name, str(value)) for name, value in named.items() if value)


def _charts(standing: Standing, ranges: Mapping[str, Ranges], coverage: float) -> dict[str, Any]:
    colours = _colours(standing)
    treatments = [{"name": each.name, "colour": colours[each.name]} for each in standing.spec.treatments]
    split = split_bar(ranges, coverage, colours) if standing.spec.mode == "split" else None
    return {
        "lift": lift_chart(standing, colours),
        "ratio": ratio_chart(standing.points) if standing.spec.metrics else None,
        "split": None if standing.phase in FINAL else split,
        "shares": standing.status.get("split") or "",
        "treatments": treatments,
        "primary": standing.spec.primary,
        "confidence": f"{100 * (1 - standing.spec.analysis.alpha):g}",
        "span": _span(standing.drawn),
        "whole": _span(standing.points),
    }


def _colours(standing: Standing) -> dict[str, str]:
    """Grey for the baseline, so that the others keep theirs whichever it is."""
    names = [standing.spec.baseline.name, *(each.name for each in standing.spec.treatments)]
    return {name: f"c{place % COLOURS}" for place, name in enumerate(names)}


def _span(points: Sequence[Point]) -> list[str]:
    """First and last look, with the units that had been seen then."""
    return [f"{moment(point.at_ms)}, {point.units:,} units" for point in (*points[:1], *points[-1:])]


def _tables(standing: Standing) -> dict[str, Any]:
    return {
        "cards": [
            {"name": c.name, "tone": _TONES[c.healthy], "state": _STATES[c.healthy], "message": c.message}
            for c in standing.cards
        ],
        "heads": _heads(standing),
        "rows": list(_rows(standing)),
        "guardrails": [
            {**one, "tone": _GUARDED.get(one["state"], "doubt")}
            for one in standing.status.get("guardrails") or ()
        ],
        "history": [
            {**one, "time": moment(str(one["time"]))}
            for one in reversed(standing.status.get("history") or ())
        ],
    }


def _heads(standing: Standing) -> Sequence[str]:
    if standing.spec.mode == "shadow":
        return ("variant", "agreement with the baseline")
    metrics = (metric.name for metric in standing.spec.metrics or ())
    return ("variant", "share", "units", *metrics, "failed over")


def _rows(standing: Standing) -> Iterator[Mapping[str, Any]]:
    colours, baseline, heads = _colours(standing), standing.spec.baseline.name, _heads(standing)[1:]
    for variant in standing.variants:
        name = str(variant["name"])
        cells = (cell or "–" for cell in _figures(standing, variant))
        yield {
            "name": f"{name} (baseline)" if name == baseline else name,
            "model": variant.get("model"),
            "colour": colours.get(name, ""),
            "cells": list(zip(heads, cells, strict=True)),
        }


def _figures(standing: Standing, variant: Mapping[str, Any]) -> Sequence[str | None]:
    if standing.spec.mode == "shadow":
        return (variant.get("shadow"),)
    units, lifts = variant.get("units"), variant.get("lift") or {}
    shown = f"{units:,}" if units is not None else None
    metrics = (lifts.get(metric.name) for metric in standing.spec.metrics or ())
    return (variant.get("share"), shown, *metrics, variant.get("fallback"))
