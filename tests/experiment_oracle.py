# SPDX-License-Identifier: Apache-2.0
"""What a history of exposures and outcomes comes to, counted by hand: each unit by itself, from all that happened."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from math import fsum, isclose
from typing import Any, NamedTuple

LATENESS, SKEW, WAIT = 3_600_000, 60_000, 900_000
NAMES = ("y", "yy", "x", "xx", "xy", "d", "dd", "yd")


class Came(NamedTuple):
    """An exposure or an event as it was sent, and when Redis took it (ms)."""

    arrival: int
    value: Mapping[str, Any]


def _time(event: Mapping[str, Any]) -> int:
    moment = datetime.fromisoformat(event["time"])
    return round(moment.timestamp() * 1000)


def _accepted(events: Sequence[Came]) -> list[Came]:
    seen: set[tuple[str, str]] = set()
    kept = []
    for came in events:
        name = (came.value["source"], came.value["id"])
        if came.arrival - LATENESS <= _time(came.value) <= came.arrival + SKEW and name not in seen:
            seen.add(name)
            kept.append(came)
    return kept


def _value(reads: Mapping[str, Any], event: Mapping[str, Any]) -> float | None:
    """What one event adds where it is of this kind."""
    data = event["data"]
    if event["type"] != reads["event"] or any(data[k] != v for k, v in (reads.get("where") or {}).items()):
        return None
    return data[reads["field"]] if reads.get("field") else 1.0


def _by_unit(field: str, events: Sequence[Came]) -> dict[str, list[Came]]:
    found: dict[str, list[Came]] = {}
    for came in events:
        found.setdefault(str(came.value["data"].get(field)), []).append(came)
    return found


def _of_unit(
    metric: Mapping[str, Any], first: int, exposed: int, events: Sequence[Came]
) -> tuple[float, float]:
    """y and d of one unit, from its events."""
    tops, bottoms = [], []
    for arrival, event in events:
        time = min(_time(event), arrival)
        if exposed > arrival + WAIT or not first <= time <= first + metric["windowMs"]:
            continue
        if (value := _value(metric["numerator"], event)) is not None:
            tops.append(value)
        if metric.get("per") and (value := _value(metric["per"], event)) is not None:
            bottoms.append(value)
    return (float(bool(tops)) if metric.get("conversion") else fsum(tops)), fsum(bottoms)


def sums(experiment: Mapping[str, Any], exposures: Sequence[Came], events: Sequence[Came]) -> dict[str, Any]:
    """By epoch and variant, as the page of an experiment has it; exposures in the order in which they came."""
    units: dict[str, list[Came]] = {}
    for came in exposures:
        if came.value["experiment_id"] == experiment["id"] and came.value["in_analysis"]:
            units.setdefault(came.value["unit"], []).append(came)
    accepted = _accepted(events)
    rows: dict[tuple[str, str], list[tuple[Came, list[Came], str]]] = {}
    for unit, (first, *later) in units.items():
        group = (str(first.value["epoch"]), first.value["variant"])
        rows.setdefault(group, []).append((first, later, unit))
    return {
        epoch: {
            variant: _variant(experiment, rows.get((epoch, variant), []), accepted)
            for variant in experiment["variants"]
        }
        for epoch, _ in rows
    }


def _variant(
    experiment: Mapping[str, Any], rows: Sequence[tuple[Came, list[Came], str]], events: Sequence[Came]
) -> dict[str, Any]:
    return {
        "units": len(rows),
        "crossed": sum(any(c.value["variant"] != f.value["variant"] for c in later) for f, later, _ in rows),
        "fallback": sum(f.value["served"] != f.value["variant"] for f, _, _ in rows),
        "metrics": {metric["name"]: _metric(metric, rows, events) for metric in experiment["metrics"]},
    }


def _metric(
    metric: Mapping[str, Any], rows: Sequence[tuple[Came, list[Came], str]], events: Sequence[Came]
) -> dict[str, float]:
    found = []
    theirs = _by_unit(metric["unit"], events)
    for first, _, unit in rows:
        begun = min(first.value["time_ms"], first.arrival)
        y, d = _of_unit(metric, begun, first.arrival, theirs.get(unit, []))
        found.append((y, first.value["covariates"].get(metric["name"], 0.0), d))
    products = [(y, y * y, x, x * x, x * y, d, d * d, y * d) for y, x, d in found]
    return {name: fsum(row[place] for row in products) for place, name in enumerate(NAMES)}


def assert_same(found: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    """Counts are equal; sums to 1e-9 of themselves, of 1 where they are smaller."""
    assert found.keys() == wanted.keys()
    for epoch, variants in wanted.items():
        assert found[epoch].keys() == variants.keys()
        for variant, right in variants.items():
            got = found[epoch][variant]
            assert {k: got[k] for k in ("units", "crossed", "fallback")} == {
                k: right[k] for k in ("units", "crossed", "fallback")
            }, (epoch, variant)
            for metric, numbers in right["metrics"].items():
                for name, number in numbers.items():
                    close = isclose(got["metrics"][metric][name], number, rel_tol=1e-9, abs_tol=1e-9)
                    assert close, (epoch, variant, metric, name, got["metrics"][metric][name], number)
