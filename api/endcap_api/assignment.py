# SPDX-License-Identifier: Apache-2.0
"""Who gets which variant: algorithm `v1`, exact, the same in every process and in SQL.

A unit falls into one of 10,000 buckets by SHA-256 of its text and a salt. Each variant owns ordered, half-open ranges
of buckets: as many as its weight says. A change of weights moves the least number of buckets that it can, so nobody
switches who does not have to; coverage takes the first part of each variant's ranges, so raising it moves nobody.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from hashlib import sha256
from typing import NamedTuple

ALGORITHM = "v1"
BUCKETS = 10_000
_RANGE = re.compile("([0-9]{1,5})-([0-9]{1,5})")


class Range(NamedTuple):
    """Buckets from `start` to before `end`."""

    start: int
    end: int

    @property
    def size(self) -> int:
        return self.end - self.start

    def __str__(self) -> str:
        return f"{self.start}-{self.end}"


Ranges = tuple[Range, ...]


def bucket(salt: str, unit: str) -> int:
    """0 to 9,999: `int(sha256("v1|salt|unit").hexdigest()[:15], 16) mod 10000`, over the exact bytes of UTF-8."""
    digest = sha256(f"{ALGORITHM}|{salt}|{unit}".encode()).digest()
    return (int.from_bytes(digest[:8]) >> 4) % BUCKETS


def parse_range(text: str) -> Range:
    """`"0-5000"` is the buckets 0 to 4,999. Raises ValueError for what is no range within 0 to 10,000."""
    parts = _RANGE.fullmatch(text)
    found = Range(int(parts[1]), int(parts[2])) if parts else Range(0, 0)
    if not found.start < found.end <= BUCKETS:
        raise ValueError(f"{text} is no range of buckets: write it as 0-5000, between 0 and {BUCKETS}")
    return found


def parse_ranges(texts: Sequence[str]) -> Ranges:
    return tuple(map(parse_range, texts))


def size(ranges: Ranges) -> int:
    """Number of buckets."""
    return sum(each.size for each in ranges)


def holds(ranges: Ranges, number: int) -> bool:
    return any(each.start <= number < each.end for each in ranges)


def quotas(weights: Mapping[str, int]) -> dict[str, int]:
    """Buckets of each variant: its exact share of 10,000, rounded by largest remainder, ties in order.

    Raises ValueError when no weight is above 0.
    """
    total = sum(weights.values())
    if total <= 0:
        raise ValueError("no weight is above 0: raise one")
    exact = {name: Fraction(weight * BUCKETS, total) for name, weight in weights.items()}
    whole = {name: int(share) for name, share in exact.items()}
    by_remainder = sorted(exact, key=lambda name: whole[name] - exact[name])
    for name in by_remainder[: BUCKETS - sum(whole.values())]:
        whole[name] += 1
    return whole


def allocate(wanted: Mapping[str, int], before: Mapping[str, Ranges] | None = None) -> dict[str, Ranges]:
    """Ranges of exactly the wanted sizes. Of those `before`, tails are released, and who grows takes them at its end.

    Exactly half of the sum of all changes moves. Variants that are gone release all that they had.
    """
    kept = {name: _prefix((before or {}).get(name, ()), count) for name, count in wanted.items()}
    free = _without([each for ranges in kept.values() for each in ranges])
    grown: dict[str, Ranges] = {}
    for name, count in wanted.items():
        taken, free = _split(free, count - size(kept[name]))
        grown[name] = _joined((*kept[name], *taken))
    return grown


def covered(ranges: Ranges, percent: float) -> Ranges:
    """The first `percent` of a variant's buckets, rounded up: what was covered stays so when it is raised."""
    exact = Fraction(str(percent)) * size(ranges) / 100
    return _prefix(ranges, -(-exact.numerator // exact.denominator))


def _prefix(ranges: Sequence[Range], count: int) -> Ranges:
    return _split(ranges, min(count, sum(each.size for each in ranges)))[0]


def _split(ranges: Sequence[Range], count: int) -> tuple[Ranges, Ranges]:
    """The first `count` buckets of ordered ranges, and the others."""
    first: list[Range] = []
    for place, each in enumerate(ranges):
        if each.size > count:
            cut = each.start + count
            head = (Range(each.start, cut),) if count else ()
            return (*first, *head), (Range(cut, each.end), *ranges[place + 1 :])
        first.append(each)
        count -= each.size
    return tuple(first), ()


def _without(taken: Sequence[Range]) -> Ranges:
    """The buckets that nobody has, in order."""
    return tuple(_gaps(sorted(taken)))


def _gaps(taken: Sequence[Range]) -> Iterator[Range]:
    at = 0
    for each in taken:
        if each.start > at:
            yield Range(at, each.start)
        at = max(at, each.end)
    if at < BUCKETS:
        yield Range(at, BUCKETS)


def _joined(ranges: Sequence[Range]) -> Ranges:
    """Neighbours in order become one; the order itself says what coverage takes first, so it stays."""
    joined: list[Range] = []
    for each in ranges:
        if joined and joined[-1].end == each.start:
            joined[-1] = Range(joined[-1].start, each.end)
        else:
            joined.append(each)
    return tuple(joined)
