# SPDX-License-Identifier: Apache-2.0
"""A record of the serving log as the rows that a model was asked about: one a candidate, with what was known of the
request repeated in each. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any


def rows_of(record: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Columns are named <step>.<key>, <step>.<feature> and <step>.<feature>.status."""
    head = {
        "request_id": record["request_id"],
        "time": datetime.fromtimestamp(record["time_ms"] / 1000, UTC),
        "graph": record.get("graph"),
        "revision": record.get("revision"),
    }
    columns = {name: values for each in record["served"] for name, values in _columns(each)}
    for index in range(max((len(values) for values in columns.values()), default=0)):
        yield {**head, "row": index, **{name: _cell(values, index) for name, values in columns.items()}}


def _columns(served: Mapping[str, Any]) -> Iterator[tuple[str, list[Any]]]:
    step = served["step"]
    for name, values in (*served["keys"].items(), *served["columns"].items()):
        yield f"{step}.{name}", values
    for name, statuses in served["statuses"].items():
        yield f"{step}.{name}.status", statuses


def _cell(values: list[Any], index: int) -> Any:
    """What was looked up once for the request belongs to every candidate."""
    if len(values) == 1:
        return values[0]
    return values[index] if index < len(values) else None
