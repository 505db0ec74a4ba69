# SPDX-License-Identifier: Apache-2.0
"""Assignment v1: its golden vectors, and that nobody moves who does not have to."""

from __future__ import annotations

import random
import subprocess
import sys
from collections.abc import Iterator
from fractions import Fraction
from hashlib import sha256
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from endcap_api.assignment import (
    BUCKETS,
    Range,
    Ranges,
    allocate,
    bucket,
    covered,
    holds,
    parse_range,
    parse_ranges,
    quotas,
    size,
)

NAMES = ["control", "a", "b", "c", "d", "e"]
weightings = st.dictionaries(
    st.sampled_from(NAMES), st.integers(0, 10_000) | st.integers(0, 3), min_size=2, max_size=6
).filter(lambda weights: sum(weights.values()) > 0)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)


def buckets(ranges: Ranges) -> list[int]:
    return [number for each in ranges for number in range(each.start, each.end)]


def owners(allocated: dict[str, Ranges]) -> dict[int, str]:
    return {number: name for name, ranges in allocated.items() for number in buckets(ranges)}


@pytest.mark.parametrize(
    ("salt", "unit", "number"),
    [
        ("home.ranker", "user-1", 833),
        ("home.ranker", "user-2", 1061),
        ("home.ranker", "Ünïcode-éè", 1460),
        ("layer/home", "user-1", 1880),
        ("holdout/2026q4", "user-1", 2277),
    ],
)
def test_the_golden_vectors(salt: str, unit: str, number: int) -> None:
    assert bucket(salt, unit) == number


@given(texts, texts)
def test_a_bucket_is_what_the_definition_says(salt: str, unit: str) -> None:
    digits = sha256(b"v1|" + salt.encode() + b"|" + unit.encode()).hexdigest()[:15]
    assert bucket(salt, unit) == int(digits, 16) % 10_000


@pytest.mark.parametrize("seed", ["0", "1", "4242"])
def test_a_process_with_another_seed_of_hashes_gives_the_same(seed: str) -> None:
    code = "from endcap_api.assignment import bucket; print([bucket('s', f'user-{i}') for i in range(2000)])"
    done = subprocess.run(
        [sys.executable, "-c", code], env={"PYTHONHASHSEED": seed}, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == str([bucket("s", f"user-{i}") for i in range(2000)])


def test_what_is_almost_the_same_unit_is_another() -> None:
    """Nothing is trimmed, folded or normalised: a letter with an accent, and the letter and then the accent."""
    alike = ["é", "e\u0301", "É", " é", "é ", "é\n", "", "0", "00"]
    assert len({bucket("home.ranker", unit) for unit in alike}) == len(alike)


@given(weightings)
def test_quotas_make_up_all_buckets_each_within_one_of_its_share(weights: dict[str, int]) -> None:
    found = quotas(weights)
    total = sum(weights.values())
    assert list(found) == list(weights)
    assert sum(found.values()) == BUCKETS
    for name, weight in weights.items():
        assert abs(found[name] - Fraction(weight * BUCKETS, total)) < 1
        assert weight > 0 or found[name] == 0


@given(weightings)
def test_who_weighs_more_has_no_fewer_buckets(weights: dict[str, int]) -> None:
    found = quotas(weights)
    assert all(found[a] >= found[b] for a in weights for b in weights if weights[a] > weights[b])


@pytest.mark.parametrize(
    ("weights", "expected"),
    [
        ({"a": 1, "b": 1, "c": 1}, [3334, 3333, 3333]),
        ({"a": 50, "b": 50}, [5000, 5000]),
        ({"a": 9999, "b": 1}, [9999, 1]),
        ({"a": 1, "b": 0}, [10_000, 0]),
        ({"a": 1, "b": 2}, [3333, 6667]),
        ({"a": 1, "b": 1, "c": 1, "d": 1, "e": 1, "f": 1}, [1667, 1667, 1667, 1667, 1666, 1666]),
    ],
)
def test_quotas_round_by_the_largest_remainder_and_then_by_order(
    weights: dict[str, int], expected: list[int]
) -> None:
    assert list(quotas(weights).values()) == expected


def test_weights_of_nothing_are_refused() -> None:
    with pytest.raises(ValueError, match="no weight is above 0: raise one"):
        quotas({"a": 0, "b": 0})


def changes_of(weightings: list[dict[str, int]]) -> Iterator[tuple[dict[str, Ranges], dict[str, Ranges]]]:
    """What each change of weights makes of what was there before."""
    before = allocate(quotas(weightings[0]))
    for weights in weightings[1:]:
        after = allocate(quotas(weights), before)
        yield before, after
        before = after


def moved(before: dict[str, Ranges], after: dict[str, Ranges]) -> int:
    theirs, ours = owners(before), owners(after)
    return sum(theirs[number] != ours[number] for number in range(BUCKETS))


def least(before: dict[str, Ranges], after: dict[str, Ranges]) -> Fraction:
    names = before.keys() | after.keys()
    changed = (abs(size(after.get(name, ())) - size(before.get(name, ()))) for name in names)
    return Fraction(sum(changed), 2)


@settings(max_examples=150, deadline=None)
@given(st.lists(weightings, min_size=2, max_size=8))
def test_weights_that_change_move_exactly_half_of_all_that_changes(chain: list[dict[str, int]]) -> None:
    """Over chains of changes in which variants come and go, too."""
    for before, after in changes_of(chain):
        assert moved(before, after) == least(before, after)


def test_a_thousand_random_changes_of_two_to_six_variants_move_the_least() -> None:
    draw = random.Random(20261124)  # noqa: S311  # the same cases in each run
    for _ in range(1000):
        names = NAMES[: draw.randint(2, 6)]
        chain = [{name: draw.choice((0, 1, draw.randint(0, 10_000))) for name in names} for _ in range(2)]
        for weights in chain:
            weights[draw.choice(names)] += 1
        ((before, after),) = changes_of(chain)
        assert moved(before, after) == least(before, after)


@settings(max_examples=150, deadline=None)
@given(st.lists(weightings, min_size=1, max_size=8))
def test_every_bucket_has_exactly_one_owner_and_ranges_are_in_one_piece_where_they_can_be(
    chain: list[dict[str, int]],
) -> None:
    for weights, (_, after) in zip(chain[1:], changes_of(chain), strict=True):
        assert sorted(number for ranges in after.values() for number in buckets(ranges)) == list(
            range(BUCKETS)
        )
        assert {name: size(ranges) for name, ranges in after.items()} == quotas(weights)
        for ranges in after.values():
            assert all(each.size > 0 for each in ranges)
            assert all(one.end != two.start for one, two in pairwise(ranges))


@settings(deadline=None)
@given(st.lists(weightings, min_size=2, max_size=4))
def test_who_shrinks_keeps_its_first_buckets_and_who_grows_keeps_all(chain: list[dict[str, int]]) -> None:
    for before, after in changes_of(chain):
        for name, ranges in after.items():
            had, has = buckets(before.get(name, ())), buckets(ranges)
            kept = min(len(had), len(has))
            assert has[:kept] == had[:kept]


def test_the_same_weights_again_change_nothing() -> None:
    before = allocate(quotas({"a": 34, "b": 33, "c": 33}), allocate(quotas({"a": 50, "b": 25, "c": 25})))
    assert allocate(quotas({"a": 34, "b": 33, "c": 33}), before) == before


def test_after_a_long_history_the_ranges_still_fit_a_spec() -> None:
    """Eight variants, five hundred changes of all weights: an export has at most 256 ranges a variant."""
    draw = random.Random(20261124)  # noqa: S311  # the same history in each run
    ranges = allocate(quotas(dict.fromkeys("abcdefgh", 1)))
    most = 0
    for _ in range(500):
        ranges = allocate(quotas({name: draw.randint(1, 1000) for name in "abcdefgh"}), ranges)
        most = max(most, *map(len, ranges.values()))
    assert 8 < most < 128


def test_from_halves_and_quarters_to_thirds_sixteen_percent_move() -> None:
    before = allocate(quotas({"control": 50, "a": 25, "b": 25}))
    after = allocate(quotas({"control": 34, "a": 33, "b": 33}), before)
    assert moved(before, after) == 1600
    assert after == {
        "control": (Range(0, 3400),),
        "a": (Range(5000, 7500), Range(3400, 4200)),
        "b": (Range(7500, 10_000), Range(4200, 5000)),
    }


def test_a_variant_that_is_gone_gives_back_all_that_it_had() -> None:
    before = allocate(quotas({"a": 1, "b": 1, "gone": 2}))
    after = allocate(quotas({"a": 1, "b": 1}), before)
    assert set(after) == {"a", "b"}
    assert moved(before, after) == 5000


percents = st.integers(0, 100) | st.floats(0, 100, allow_nan=False)


@settings(deadline=None)
@given(st.lists(weightings, min_size=2, max_size=4), percents, percents)
def test_a_higher_coverage_has_all_of_a_lower_one(
    chain: list[dict[str, int]], one: float, two: float
) -> None:
    low, high = sorted((one, two))
    *_, (_, after) = changes_of(chain)
    for ranges in after.values():
        few, many = buckets(covered(ranges, low)), buckets(covered(ranges, high))
        assert many[: len(few)] == few
        assert buckets(ranges)[: len(many)] == many


@settings(deadline=None)
@given(weightings, percents)
def test_coverage_rounds_up_so_that_no_variant_is_left_out(weights: dict[str, int], percent: float) -> None:
    for name, ranges in allocate(quotas(weights)).items():
        exact = Fraction(str(percent)) * size(ranges) / 100
        assert 0 <= size(covered(ranges, percent)) - exact < 1
        assert size(covered(ranges, percent)) > 0 or percent == 0 or quotas(weights)[name] == 0


def test_full_coverage_is_all_and_none_is_nothing() -> None:
    ranges = (Range(5000, 7500), Range(100, 200))
    assert covered(ranges, 100) == ranges
    assert covered(ranges, 0) == ()
    assert covered(ranges, 0.1) == (Range(5000, 5003),)


@given(st.integers(0, BUCKETS - 1), st.integers(1, BUCKETS))
def test_ranges_are_read_as_they_are_written(start: int, length: int) -> None:
    written = Range(start, min(start + length, BUCKETS))
    assert parse_range(str(written)) == written
    assert parse_ranges([str(written)]) == (written,)
    assert [holds((written,), n) for n in (start - 1, start, written.end - 1, written.end)] == [
        False,
        True,
        True,
        False,
    ]


@pytest.mark.parametrize(
    "text", ["5-5", "6-5", "0-10001", "-1-5", "5", "", "a-b", " 0-5", "1_0-20", "0-٣", "0-5-9"]
)
def test_what_is_no_range_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is no range of buckets: write it as 0-5000"):
        parse_range(text)
