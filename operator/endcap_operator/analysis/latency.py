# SPDX-License-Identifier: Apache-2.0
"""Quantiles of the histograms that graph pods count: buckets whose edges grow by 5 %, the first up to 0.1 ms.

Within a bucket the requests are taken to lie evenly by logarithm, so that a figure does not jump from edge to edge.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import zip_longest
from math import floor, log

from endcap_api.experiment_config import Latency

FIRST_MS = 0.1
GROWTH = 1.05


def total(histograms: Iterable[Latency]) -> list[int]:
    """The sum over pods; a shorter list has nothing in what it does not tell."""
    counts: list[int] = []
    for each in histograms:
        counts = [a + b for a, b in zip_longest(counts, each.counts, fillvalue=0)]
    return counts


def quantile_ms(counts: list[int], part: float) -> float | None:
    """The latency below which a `part` of the requests is; None without requests."""
    wanted, below = part * sum(counts), 0
    for place, count in enumerate(counts):
        if count and below + count >= wanted:
            return float(FIRST_MS * GROWTH ** (place - 1 + (wanted - below) / count))
        below += count
    return None


def share_above(counts: list[int], limit_ms: float) -> float:
    """The part of the requests that took longer, of one request or more."""
    place = log(limit_ms / FIRST_MS) / log(GROWTH) + 1
    whole = floor(place)
    if whole < 0:
        return 1.0
    above = float(sum(counts[whole + 1 :]))
    if whole < len(counts):
        above += counts[whole] * (1 - (place - whole))
    return above / sum(counts)
