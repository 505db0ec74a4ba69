# SPDX-License-Identifier: Apache-2.0
"""Round numbers to label an axis with. Pure."""

from __future__ import annotations

from math import ceil, floor, log10

MOST = 5
_ROUND = (1, 2, 5, 10)


def ticks(lowest: float, highest: float) -> list[float]:
    """Two to five multiples of a round number within the bounds; 0 is exactly 0."""
    rough = (highest - lowest) / MOST
    power = 10.0 ** floor(log10(rough))
    step = next(power * each for each in _ROUND if power * each >= rough * (1 - 1e-9))
    first, last = ceil(lowest / step - 1e-9), floor(highest / step + 1e-9)
    return [float(f"{number * step:.12g}") if number else 0.0 for number in range(first, last + 1)]
