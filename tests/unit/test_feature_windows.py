# SPDX-License-Identifier: Apache-2.0
"""Packed states into values: rows in all types, what is missing, old or not to be read, and clocks that went back."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from feature_views import CLICKS, SPEND, a_view, stream, windowed
from hypothesis import given
from hypothesis import strategies as st

from endcap_runtime.features.layout import Evaluated, Status, View
from endcap_runtime.features.windows.header import HEADER, LOG, RING, packed

NOW = 1_800_000_000_000
HOUR = 3_600_000
PRECOMPUTED: dict[str, Any] = {"precomputed": {}}
COLUMNS = (
    {"name": "segment", "type": "string", "maxLength": 8, "default": "none"},
    {"name": "age", "type": "integer", "default": -1},
    {"name": "score", "type": "number", "default": 0.5},
    {"name": "member", "type": "boolean", "default": True},
    {"name": "tags", "type": "array", "items": {"type": "string"}, "maxItems": 3, "maxLength": 4},
    {"name": "sizes", "type": "array", "items": {"type": "integer"}, "maxItems": 2, "default": [7]},
    {"name": "shares", "type": "array", "items": {"type": "number"}},
)
DEFAULTS = ["none", -1, 0.5, True, [], [7], []]
NAMES = [str(column["name"]) for column in COLUMNS]
ROWS = st.fixed_dictionaries(
    {},
    optional={
        "segment": st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=2),
        "age": st.integers(-(2**63), 2**63 - 1),
        "score": st.floats(allow_nan=False, allow_infinity=False),
        "member": st.booleans(),
        "tags": st.lists(st.text("abä", max_size=2), max_size=3),
        "sizes": st.lists(st.integers(-(2**63), 2**63 - 1), max_size=2),
        "shares": st.lists(st.floats(allow_nan=False, allow_infinity=False), max_size=16),
    },
)


def row_of(told: Evaluated, row: int) -> list[Any]:
    return [values[row] for values in told.values]


def statuses(told: Evaluated, row: int = 0) -> set[str]:
    return {Status(status).name for status in told.statuses[:, row]}


@given(st.lists(st.none() | ROWS, max_size=5))
def test_a_row_is_read_as_it_was_written(rows: list[dict[str, Any] | None]) -> None:
    view = a_view(PRECOMPUTED, *COLUMNS)
    told = view.evaluate([None if row is None else view.row(row, NOW) for row in rows], NOW)
    for number, row in enumerate(rows):
        wanted = [(row or {}).get(name, default) for name, default in zip(NAMES, DEFAULTS, strict=True)]
        assert row_of(told, number) == wanted
        said = [Status(status).name for status in told.statuses[:, number]]
        assert said == ["PRESENT" if name in (row or {}) else "DEFAULTED" for name in NAMES]
    assert told.updated_ms.tolist() == [0 if row is None else NOW for row in rows]


def test_columns_have_the_types_of_their_features() -> None:
    view = a_view(PRECOMPUTED, *COLUMNS)
    for states in ([None], [view.row({"age": 3, "score": 2, "segment": "a"}, NOW)], []):
        kinds = [values.dtype for values in view.evaluate(states, NOW).values]
        assert kinds == [
            np.dtype(kind) for kind in (object, np.int64, np.float64, np.bool_, object, object, object)
        ]


@pytest.mark.parametrize(
    ("source", "features"),
    [(stream(), (CLICKS, SPEND)), (stream("tiles"), (CLICKS, SPEND))],
    ids=["events", "tiles"],
)
def test_columns_of_windows_have_the_types_of_their_features(source: Any, features: Any) -> None:
    view = a_view(source, *(windowed(feature) for feature in features))
    for states in ([None], [], [b"broken"], [None, None]):
        assert [values.dtype for values in view.evaluate(states, NOW).values] == [np.int64, np.float64]


def views() -> dict[str, tuple[View, bytes]]:
    log, ring = a_view(stream(), windowed(CLICKS)), a_view(stream("tiles"), windowed(CLICKS))
    row = a_view(PRECOMPUTED, COLUMNS[1])
    return {
        "events": (log, packed(LOG, NOW)),
        "tiles": (ring, packed(RING, NOW) + bytes(ring.bytes - HEADER.size)),
        "row": (row, row.row({"age": 1}, NOW)),
    }


@pytest.mark.parametrize("name", ["events", "tiles", "row"])
def test_what_was_written_longer_ago_than_ttl_is_expired(name: str) -> None:
    view, state = views()[name]
    assert statuses(view.evaluate([state], NOW + view.ttl_ms)) == {"PRESENT"}
    assert statuses(view.evaluate([state], NOW + view.ttl_ms + 1)) == {"EXPIRED"}


BROKEN = {
    "empty": lambda _: b"",
    "short": lambda state: state[:20],
    "longer": lambda state: state + b"x",
    "foreign": lambda state: b"\xff" * len(state),
    "of another format": lambda state: b"\2" + state[1:],
    "of another kind": lambda state: state[:1] + b"\x09" + state[2:],
}


@pytest.mark.parametrize("how", BROKEN)
@pytest.mark.parametrize("name", ["events", "tiles", "row"])
def test_what_cannot_be_read_is_an_error_and_spoils_no_other(name: str, how: str) -> None:
    view, state = views()[name]
    told = view.evaluate([state, BROKEN[how](state), None, state], NOW)
    assert [statuses(told, row) for row in range(4)] == [{"PRESENT"}, {"ERROR"}, {"DEFAULTED"}, {"PRESENT"}]
    assert told.values[0].tolist()[1:3] == [view.columns[0].default] * 2
    assert told.updated_ms.tolist() == [NOW, 0, 0, NOW]


def test_a_text_that_is_no_text_is_read_as_well_as_can_be() -> None:
    view = a_view(PRECOMPUTED, COLUMNS[0])
    row = view.row({"segment": "abc"}, NOW)
    assert view.evaluate([row.replace(b"abc", b"a\xffc"), row], NOW).values[0].tolist() == ["a\ufffdc", "abc"]


def test_a_derived_row_counts_while_its_version_is_the_one_that_is_deployed() -> None:
    old, new = (
        a_view({"derived": {"model": "intent"}}, COLUMNS[1], version=v) for v in ("intent@4", "intent@5")
    )
    row = old.row({"age": 3}, NOW, "intent@4")
    assert (old.key(["1"]), old.digest) == (new.key(["1"]), new.digest)
    assert (old.evaluate([row], NOW).values[0][0], statuses(old.evaluate([row], NOW))) == (3, {"PRESENT"})
    assert (new.evaluate([row], NOW).values[0][0], statuses(new.evaluate([row], NOW))) == (-1, {"EXPIRED"})
    assert statuses(new.evaluate([old.row({"age": 3}, NOW)], NOW)) == {"EXPIRED"}
    any_version = a_view({"derived": {}}, COLUMNS[1])
    assert statuses(any_version.evaluate([row], NOW)) == {"PRESENT"}


def test_effective_windows_are_told() -> None:
    log = a_view(stream(), windowed(CLICKS, "5m", "1h"))
    ring = a_view(stream("tiles", tiles={"1h": "15m"}), windowed(CLICKS, "1h"))
    assert log.evaluate([None], NOW + 1).windows == ((NOW + 1 - 300_000, NOW + 1), (NOW + 1 - HOUR, NOW + 1))
    assert ring.evaluate([None], NOW + 1).windows == ((NOW - HOUR, NOW + 1),)
    assert a_view(PRECOMPUTED, COLUMNS[1]).evaluate([None], NOW).windows == (None,)
