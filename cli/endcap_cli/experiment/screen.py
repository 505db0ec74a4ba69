# SPDX-License-Identifier: Apache-2.0
"""How an experiment stands, on one screen. Pure."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from itertools import pairwise

from endcap_cli.experiment.band import band
from endcap_cli.experiment.sentence import sentence
from endcap_cli.experiment.standing import Card, Standing
from endcap_cli.terminal import table_lines

WIDTH = 100
LAST = 5
_MARKS = {True: "ok", False: "!!", None: "??"}


def screen(standing: Standing) -> list[str]:
    """Lines, parts with an empty line between them; not escaped but for tables."""
    parts = [
        list(part(standing)) for part in (_head, _cards, _variants, _guardrails, _bands, _history, _next)
    ]
    shown = [part for part in parts if part]
    return [line for number, part in enumerate(shown) for line in (*([""] if number else []), *part)]


def _head(standing: Standing) -> Iterator[str]:
    spec, status = standing.spec, standing.status
    what = "Shadow" if spec.mode == "shadow" else "Test"
    yield f"{standing.name.name}: {standing.phase}. {what} of step {spec.step} in graph {spec.graph}"
    if spec.description:
        yield from textwrap.wrap(spec.description, WIDTH)
    yield ""
    yield from textwrap.wrap(sentence(standing), WIDTH)
    figures = {
        "units": f"{status['units']:,}" if status.get("units") is not None else None,
        "traffic": status.get("traffic"),
        "split": status.get("split"),
    }
    if told := ", ".join(f"{name} {value}" for name, value in figures.items() if value):
        yield told


def _cards(standing: Standing) -> Iterator[str]:
    yield from (_card(card) for card in standing.cards)


def _card(card: Card) -> str:
    return f"{_MARKS[card.healthy]}  {card.name:<12}  {card.message}"


def _variants(standing: Standing) -> Iterator[str]:
    metrics = [metric.name for metric in standing.spec.metrics or ()]
    baseline = standing.spec.baseline.name
    rows = []
    for variant in standing.variants:
        units = variant.get("units")
        name = f"{variant['name']} (baseline)" if variant["name"] == baseline else variant["name"]
        told = (variant.get("model"), variant.get("share"), None if units is None else f"{units:,}")
        lifts = (variant.get("lift") or {}).get
        rows.append((name, *told, variant.get("fallback"), variant.get("shadow"), *map(lifts, metrics)))
    head = ("VARIANT", "MODEL", "SHARE", "UNITS", "FALLBACK", "SHADOW", *(name.upper() for name in metrics))
    yield from _table(head, rows)


def _guardrails(standing: Standing) -> Iterator[str]:
    found = standing.status.get("guardrails") or ()
    rows = [(one["name"], one["state"], one["message"]) for one in found]
    yield from _table(("GUARDRAIL", "STATE", "FIGURES"), rows) if rows else ()


def _table(head: Sequence[str], rows: Sequence[Sequence[str | None]]) -> list[str]:
    """Without the columns that are empty throughout."""
    used = [place for place in range(len(head)) if any(row[place] for row in rows)]
    return table_lines(
        [head[place] for place in used], [[row[place] or "-" for place in used] for row in rows]
    )


def _bands(standing: Standing) -> Iterator[str]:
    for treatment in standing.spec.treatments:
        lines = band(standing.drawn, treatment.name, standing.shown)
        if lines:
            yield f"{treatment.name}, {standing.spec.primary}: lift (+), its confidence sequence (=), zero (-)"
            yield from lines
            yield _ramps(standing)


def _ramps(standing: Standing) -> str:
    """When coverage changed, in words."""
    changes = [
        f"{now.coverage:g}% from {now.units:,} units"
        for before, now in pairwise(standing.drawn)
        if before.coverage != now.coverage
    ]
    return f"coverage {standing.drawn[0].coverage:g}%" + "".join(f", {change}" for change in changes)


def _history(standing: Standing) -> Iterator[str]:
    for one in (standing.status.get("history") or ())[-LAST:]:
        yield f"{one['time']}  {one['phase']:<16}  {one['message']}"


def _next(standing: Standing) -> Iterator[str]:
    if recommendation := standing.status.get("recommendation"):
        yield "What to do next:"
        yield from (f"  {line}" for line in str(recommendation).splitlines())
