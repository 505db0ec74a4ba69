# SPDX-License-Identifier: Apache-2.0
"""How two orders agree, held against scipy and against the definition."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import spearmanr

from endcap_runtime.graph.shadow.agreement import _equal, of_orders

ORDERS = st.lists(st.integers(0, 60), unique=True, max_size=40)


def rows(values: list[int]) -> np.ndarray:
    return np.array(values, dtype=np.int32)


@given(ORDERS, ORDERS)
def test_correlation_is_that_of_scipy_over_what_both_have(one: list[int], other: list[int]) -> None:
    common = [row for row in one if row in other]
    correlation = of_orders(rows(one), rows(other)).correlation
    if len(common) < 2:
        assert correlation == (1.0 if common or not (one or other) else 0.0)
        return
    wanted = spearmanr([one.index(row) for row in common], [other.index(row) for row in common]).statistic
    assert correlation == pytest.approx(wanted, abs=1e-12)


@given(ORDERS, ORDERS)
def test_overlap_is_the_share_of_the_first_ten(one: list[int], other: list[int]) -> None:
    agreed = of_orders(rows(one), rows(other))
    assert agreed.overlap == of_orders(rows(other), rows(one)).overlap
    most = max(len(one[:10]), len(other[:10]))
    assert agreed.overlap == (len(set(one[:10]) & set(other[:10])) / most if most else 1.0)


@pytest.mark.parametrize(
    ("one", "other", "overlap", "correlation"),
    [
        (list(range(20)), list(range(20)), 1.0, 1.0),
        (list(range(20)), list(reversed(range(20))), 0.0, -1.0),
        (list(range(20)), list(range(100, 120)), 0.0, 0.0),
        ([1, 2, 3], [1, 2, 3, 4], 0.75, 1.0),
        ([1, 2, 3], [3, 2, 1], 1.0, -1.0),
        ([], [], 1.0, 1.0),
        ([], [1], 0.0, 0.0),
        ([7], [7, 8], 0.5, 1.0),
    ],
)
def test_orders(one: list[int], other: list[int], overlap: float, correlation: float) -> None:
    assert of_orders(rows(one), rows(other)) == (overlap, correlation)


def test_values_are_equal_to_nine_digits_and_no_further() -> None:
    assert _equal(0.1 + 0.2, 0.3)
    assert _equal(["a", "b"], ["a", "b"])
    assert _equal([0.1 + 0.2, 1.0], [0.3, 1.0])
    assert not _equal(0.3, 0.300001)
    assert not _equal(["a", "b"], ["b", "a"])
    assert not _equal([0.3], [0.3, 0.3])
    assert not _equal("party", None)
