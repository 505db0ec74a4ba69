# SPDX-License-Identifier: Apache-2.0
"""What a pod remembers to have told: once a day, bounded, and forgotten when it was not taken."""

from __future__ import annotations

import tracemalloc

from endcap_runtime.graph.exposures.told import Told


def test_a_unit_is_told_once_a_day() -> None:
    told = Told()
    assert told.first(1, day=7)
    assert not told.first(1, day=7)
    assert told.first(2, day=7)
    assert told.first(1, day=8)
    assert not told.first(1, day=8)


def test_requests_that_end_after_midnight_make_nothing_forgotten() -> None:
    told = Told()
    assert told.first(1, day=8)
    for key in range(2, 9):
        assert told.first(key, day=7), "it came before midnight"
        assert not told.first(1, day=8)
    assert told.first(1, day=5), "a clock that was set back by days begins anew"


def test_what_was_not_taken_is_told_again_wherever_it_is_kept() -> None:
    told = Told(most=4)
    for key in range(4):
        told.first(key, day=7)
    told.forget(0)  # in the older half
    told.forget(3)  # in the newer half
    told.forget(99)
    assert [key for key in range(4) if told.first(key, day=7)] == [0, 3]


def test_when_it_is_full_the_older_half_is_told_again_and_never_more_is_kept() -> None:
    told = Told(most=100)
    for key in range(1000):
        assert told.first(key, day=7)
        assert len(told) <= 100
    assert not told.first(999, day=7)
    assert not told.first(950, day=7), "the newer half is remembered for sure"
    assert told.first(0, day=7)


def test_two_hundred_thousand_take_little_memory() -> None:
    tracemalloc.start()
    try:
        told = Told()
        for number in range(400_000):
            told.first(hash(("unit", number)), day=7)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(told) <= 200_000
    assert most < 40_000_000
