# SPDX-License-Identifier: Apache-2.0
"""Means and variances from sums.

A sum of squares less the square of a sum loses its digits where the values are large and alike; here the difference is
taken exactly, over the fractions that the floats are, and what is left of the sums' own rounding counts as nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from math import isfinite, sqrt

from endcap_api.experiment_config import Sums

_LARGEST = 1e100
_EPSILON = 2.0**-52
_IMPOSSIBLE = 1e-6


@dataclass(frozen=True)
class Moments:
    """Of one variant in one epoch: means, and sums of squares and products about them, divided by units - 1."""

    units: int
    y: float
    x: float
    d: float
    yy: float
    xx: float
    dd: float
    xy: float
    yd: float


def moments(units: int, sums: Sums) -> Moments | None:
    """None for fewer than two units, and for sums that cannot be: not finite, too large, or below their own means."""
    if units < 2 or not _sound(sums) or not _possible(units, sums):  # noqa: PLR2004
        return None
    return Moments(
        units=units,
        y=sums.y / units,
        x=sums.x / units,
        d=sums.d / units,
        yy=_spread(sums.yy, sums.y, units),
        xx=_spread(sums.xx, sums.x, units),
        dd=_spread(sums.dd, sums.d, units),
        xy=_about(sums.xy, sums.x, sums.y, units),
        yd=_about(sums.yd, sums.y, sums.d, units),
    )


def _sound(sums: Sums) -> bool:
    values = (sums.y, sums.yy, sums.x, sums.xx, sums.xy, sums.d, sums.dd, sums.yd)
    squares = (sums.yy, sums.xx, sums.dd)
    return all(isfinite(v) and abs(v) < _LARGEST for v in values) and min(squares) >= 0


def _possible(units: int, sums: Sums) -> bool:
    """A sum of squares is at least the square of the sum, divided by the units."""
    pairs = ((sums.yy, sums.y), (sums.xx, sums.x), (sums.dd, sums.d))
    return all(squares * units >= total * total * (1 - _IMPOSSIBLE) for squares, total in pairs)


def _about(products: float, first: float, second: float, units: int) -> float:
    exact = Fraction(products) - Fraction(first) * Fraction(second) / units
    return float(exact / (units - 1))


def _spread(squares: float, total: float, units: int) -> float:
    """Never negative; 0 where it is within what adding `units` floats may have lost."""
    found = _about(squares, total, total, units)
    lost = 4 * _EPSILON * sqrt(units) * squares / (units - 1)
    return found if found > lost else 0.0
