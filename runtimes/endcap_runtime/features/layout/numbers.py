# SPDX-License-Identifier: Apache-2.0
"""Numbers as whole multiples of 10^-decimals: their sum is the same in whatever order they arrive."""

from __future__ import annotations

import math
from decimal import ROUND_HALF_EVEN, Decimal

# Beyond this, sums of a full log no longer fit 64 bits, nor sums of a busy tile the 53 of a Lua number.
LARGEST = 2**50
_UNIT = Decimal(1)


def scaled(value: float, decimals: int) -> int:
    """The nearest multiple, half to even, of the number as it was written; raises ValueError that says why not."""
    if type(value) is float and not math.isfinite(value):
        raise ValueError("is not finite: send a number")
    whole = value * 10**decimals if type(value) is int else _rounded(value, decimals)
    if abs(whole) > LARGEST:
        raise ValueError(f"is too large for {decimals} decimals: keep below {LARGEST / 10**decimals:.15g}")
    return whole


def _rounded(value: float, decimals: int) -> int:
    exact = Decimal(repr(value))
    if exact.adjusted() + decimals > 20:  # noqa: PLR2004 - far beyond LARGEST, and no context holds its digits
        return LARGEST + 1
    return int(exact.scaleb(decimals).quantize(_UNIT, rounding=ROUND_HALF_EVEN))
