# SPDX-License-Identifier: Apache-2.0
"""The last minute of an experiment, as the operator reads it."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from endcap_runtime.graph.experiments.window import Served, Window, serving


def total(window: Window[Served], at: float) -> int:
    return serving(list(window.last(at)), None).requests


def test_what_is_older_than_a_minute_is_gone() -> None:
    window = Window(Served)
    for second in range(100, 200):
        window.now(second).requests += 1
    assert total(window, 199.0) == 60
    assert total(window, 204.9) == 55
    assert total(window, 230.0) == 25
    assert total(window, 254.9) == 5
    assert total(window, 255.0) == 0


def test_a_pause_leaves_no_gap_that_counts() -> None:
    window = Window(Served)
    window.now(0.0).requests += 1
    window.now(3600.0).requests += 1
    assert total(window, 3600.0) == 1


@given(st.lists(st.floats(0, 10_000), max_size=200), st.floats(0, 10_000))
def test_the_window_has_what_came_in_its_steps(moments: list[float], later: float) -> None:
    window = Window(Served)
    for moment in sorted(moments):
        window.now(moment).requests += 1
    at = max([*moments, later])
    first = (at // 5 - 11) * 5
    assert total(window, at) == sum(moment >= first for moment in moments)


@given(st.lists(st.floats(0.001, 100_000), min_size=1, max_size=50))
def test_each_latency_is_at_most_its_bound_and_more_than_the_one_before(latencies: list[float]) -> None:
    served = Served()
    for ms in latencies:
        served.latency(ms)
    counts = serving([served], None).latency.counts
    assert sum(counts) == len(latencies)
    assert counts[-1] > 0
    bounds = [0.0, *(0.1 * 1.05**place for place in range(len(counts)))]
    for place, (low, high) in enumerate(pairwise(bounds)):
        between = sum(low * (1 + 1e-9) < ms <= high * (1 + 1e-9) for ms in latencies)
        assert counts[place] == pytest.approx(
            between, abs=sum(abs(ms - high) < 1e-6 * high for ms in latencies)
        )


def test_parts_are_added_up() -> None:
    parts = [Served(requests=3, served=2, errors=1, degraded=1), Served(requests=2, served=2)]
    parts[0].latency(0.05)
    parts[1].latency(0.104)
    found = serving(parts, None)
    assert (found.requests, found.served, found.errors, found.degraded) == (5, 4, 1, 1)
    assert found.latency.counts == [1, 1]
    assert found.shadow is None
