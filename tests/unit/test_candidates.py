# SPDX-License-Identifier: Apache-2.0
"""Merging recall steps: nothing twice, nothing lost, and where it came from."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from endcap_runtime.graph.candidates import ABSENT, Candidates, Recalled


def recalled(step: str, bit: int, rows: list[int], **columns: list[object]) -> Recalled:
    dtypes = {str: object, int: np.int64, float: np.float64, bool: np.bool_}
    arrays = {name: np.array(values, dtype=dtypes[type(values[0])]) for name, values in columns.items()}
    return Recalled(step, bit, np.array(rows, dtype=np.int32), arrays)


def test_an_item_of_two_sources_stands_before_those_of_one() -> None:
    merged = Candidates.merge([recalled("together", 0, [5, 7, 9]), recalled("again", 1, [8, 9])])
    assert merged.rows.tolist() == [9, 5, 8, 7]
    assert merged.score.tolist() == pytest.approx([1 / 63 + 1 / 62, 1 / 61, 1 / 61, 1 / 62])
    assert merged.sources.tolist() == [0b11, 0b01, 0b10, 0b01]


def test_the_best_source_is_the_one_that_placed_the_item_highest_and_the_earlier_on_a_tie() -> None:
    merged = Candidates.merge([recalled("together", 0, [1, 2, 3]), recalled("again", 1, [1, 3, 2])])
    best = dict(zip(merged.rows.tolist(), merged.best_source().tolist(), strict=True))
    assert best == {1: 0, 2: 0, 3: 1}


def test_a_column_is_its_zero_where_the_source_does_not_know_the_item() -> None:
    products = Recalled("again", 1, np.array([2], np.int32), {"because": np.array([7], np.int32)})
    merged = Candidates.merge(
        [
            recalled("together", 0, [1, 3], baskets=[167, 12], why=["cups", "plates"], near=[0.5, 0.1]),
            products,
        ]
    )
    by_row = {
        name: dict(zip(merged.rows.tolist(), values.tolist(), strict=True))
        for name, values in merged.columns.items()
    }
    assert by_row["together.baskets"] == {1: 167, 2: 0, 3: 12}
    assert by_row["together.why"] == {1: "cups", 2: "", 3: "plates"}
    assert by_row["together.near"] == {1: 0.5, 2: 0.0, 3: 0.1}
    assert by_row["again.because"] == {1: -1, 2: 7, 3: -1}


def test_an_item_that_the_catalogue_does_not_know_takes_its_place_but_is_no_candidate() -> None:
    merged = Candidates.merge([recalled("together", 0, [-1, 4, -1, 6], baskets=[9, 8, 7, 6])])
    assert merged.rows.tolist() == [4, 6]
    assert merged.positions.tolist() == [[2, 4]]
    assert merged.columns["together.baskets"].tolist() == [8, 6]


def test_no_source_and_empty_sources_make_no_candidates() -> None:
    for sets in ([], [recalled("together", 3, [])]):
        merged = Candidates.merge(sets)
        assert len(merged) == 0
        assert merged.best_source().tolist() == []
        assert merged.ranked(np.empty(0)).rows.tolist() == []


def test_ranking_puts_the_highest_first_and_keeps_the_order_of_equals() -> None:
    merged = Candidates.merge([recalled("together", 0, [4, 3, 2, 1], baskets=[4, 3, 2, 1])])
    ranked = merged.ranked(np.array([0.5, 0.9, 0.5, 0.9]))
    assert ranked.rows.tolist() == [3, 1, 4, 2]
    assert ranked.score.tolist() == [0.9, 0.9, 0.5, 0.5]
    assert ranked.columns["together.baskets"].tolist() == [3, 1, 4, 2]
    assert ranked.positions.tolist() == [[2, 4, 1, 3]]


def test_following_candidates_are_appended_once_with_their_own_columns() -> None:
    first = Candidates.merge([recalled("together", 0, [4, 3], baskets=[9, 8])])
    rest = Candidates.merge([recalled("popular", 2, [3, 5], why=["a", "b"])])
    both = first.followed_by(rest)
    assert both.rows.tolist() == [4, 3, 5]
    assert both.columns["together.baskets"].tolist() == [9, 8, 0]
    assert both.columns["popular.why"].tolist() == ["", "", "b"]
    assert both.best_source().tolist() == [0, 0, 2]


ROWS = st.lists(st.integers(-1, 30), max_size=20)


@given(st.lists(ROWS, max_size=5))
def test_merging_loses_nothing_and_invents_nothing(sets: list[list[int]]) -> None:
    found = [recalled(f"s{bit}", bit, rows) for bit, rows in enumerate(sets)]
    merged = Candidates.merge(found)
    rows = merged.rows.tolist()
    assert sorted(rows) == sorted({row for each in sets for row in each if row >= 0})
    for place, row in enumerate(rows):
        firsts = [each.index(row) + 1 if row in each else None for each in sets]
        assert merged.score[place] == pytest.approx(sum(1 / (60 + first) for first in firsts if first))
        assert int(merged.sources[place]) == sum(1 << bit for bit, first in enumerate(firsts) if first)
        column = merged.positions[:, place].tolist()
        assert column[: len(sets)] == [first or int(ABSENT) for first in firsts]
    assert merged.score.tolist() == sorted(merged.score.tolist(), reverse=True)
