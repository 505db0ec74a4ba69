# SPDX-License-Identifier: Apache-2.0
"""A lookup's answer for people and for the graph's JSON: columns, statuses, windows by name."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from endcap_runtime.features.lookup.found import Found, Window
from endcap_runtime.features.statuses import STATUS_NAMES


def answer_of(found: Found) -> dict[str, Any]:
    """One bundle as docs/contract-features.md has it."""
    names = [column.name for column in found.columns]
    return {
        "bundle": found.bundle,
        "digest": found.digest,
        "rows": found.rows,
        "columns": {name: values.tolist() for name, values in zip(names, found.values, strict=True)},
        "statuses": dict(zip(names, _statuses(found), strict=True)),
        "windows": {
            name: _window(window)
            for name, window in zip(names, found.windows, strict=True)
            if window is not None
        },
        "freshness_ms": found.freshness_ms,
        "late": found.late,
    }


def explained(found: Found) -> dict[str, Any]:
    """The same, and what each column means; a row whose window is TRUNCATED, with the window that it really has."""
    told = {column.name: _explained(found, place) for place, column in enumerate(found.columns)}
    return {**answer_of(found), "explain": told}


def _explained(found: Found, place: int) -> dict[str, Any]:
    column, window = found.columns[place], found.windows[place]
    kept = found.kept_from.get(place, {})
    rows = {str(row): _window((start, window[1])) for row, start in kept.items() if window is not None}
    return {
        "feature": column.feature,
        "description": column.description,
        **({"windows": rows} if rows else {}),
    }


def _statuses(found: Found) -> list[list[str]]:
    return [[STATUS_NAMES[status] for status in row] for row in found.statuses.tolist()]


def _window(window: Window) -> dict[str, str] | None:
    return window and {"from": instant(window[0]), "to": instant(window[1])}


def instant(ms: int) -> str:
    """RFC 3339 in UTC, to the millisecond."""
    return datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
