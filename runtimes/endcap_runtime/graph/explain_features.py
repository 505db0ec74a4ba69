# SPDX-License-Identifier: Apache-2.0
"""The features that a step used, for whoever wonders why: value, what it is worth, its window and its meaning."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from endcap_api.feature_columns import FeatureColumn
from endcap_runtime.features.statuses import STATUS_NAMES
from endcap_runtime.graph.candidates import NOBODY
from endcap_runtime.graph.looked_up import LookedUp, Window
from endcap_runtime.graph.query import Query
from endcap_runtime.graph.steps.lookup import Lookup


def features_used(lookup: Lookup, query: Query, most: int) -> list[dict[str, Any]]:
    """The columns that something reads: of the request, or of the first `most` products of the answer."""
    found = query.looked_up.get(lookup.name, [])
    return [_line(column, found, query, most) for column in lookup.read] if found else []


def _line(column: FeatureColumn, found: list[LookedUp], query: Query, most: int) -> dict[str, Any]:
    line: dict[str, Any] = {"name": column.name}
    if found[0].rows is None:
        line |= _worth(column, found[0], 0)
    else:
        line["products"] = list(_products(column, found, query, most))
    if window := found[0].window(column):
        line["window"] = _shown(window)
    if column.description:
        line["description"] = column.description
    return line


def _products(
    column: FeatureColumn, found: list[LookedUp], query: Query, most: int
) -> Iterator[dict[str, Any]]:
    rows = (query.candidates or NOBODY).rows[:most]
    for row, name in zip(rows, query.catalogue.names(rows), strict=True):
        for looked_up in found:
            place = looked_up.places().get(int(row))
            if place is not None:
                yield {"product": name, **_worth(column, looked_up, place)}
                break


def _worth(column: FeatureColumn, looked_up: LookedUp, place: int) -> dict[str, Any]:
    value = looked_up.values(column)[place : place + 1].tolist()[0]
    return {"value": value, "status": STATUS_NAMES[looked_up.statuses(column)[place]]}


def _shown(window: Window) -> dict[str, str]:
    start, end = map(_moment, window)
    return {"from": start, "to": end}


def _moment(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
