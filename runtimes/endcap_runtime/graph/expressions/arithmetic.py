# SPDX-License-Identifier: Apache-2.0
"""Numbers as CEL has them: int64 that refuses to wrap, double as IEEE 754.

numpy wraps int64 in silence, so each operation says where it did.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from endcap_runtime.graph.expressions.vector import Mask, Vector, either, fault_where

Ints = NDArray[np.int64]

_LOWEST = np.int64(-(2**63))
_BOUND = 2**63
_OVERFLOW = "integer overflow"


def add(left: Ints, right: Ints) -> Vector:
    total = left + right
    return Vector(total, fault_where(((left ^ total) & (right ^ total)) < 0, _OVERFLOW))


def subtract(left: Ints, right: Ints) -> Vector:
    rest = left - right
    return Vector(rest, fault_where(((left ^ right) & (left ^ rest)) < 0, _OVERFLOW))


def multiply(left: Ints, right: Ints) -> Vector:
    if _reach(left) * _reach(right) < _BOUND:
        return Vector(left * right)
    exact = left.astype(object) * right.astype(object)
    wrapped = np.array([not -_BOUND <= product < _BOUND for product in exact], dtype=np.bool_)
    return Vector(left * right, fault_where(wrapped, _OVERFLOW))


def _reach(values: Ints) -> int:
    return max(-int(values.min()), int(values.max())) if len(values) else 0


def divide(left: Ints, right: Ints) -> Vector:
    """Truncated toward zero, as in C."""
    zero, over = right == 0, _wraps(left, right)
    safe = np.where(zero | over, np.int64(1), right)
    quotient = (left - np.fmod(left, safe)) // safe
    return Vector(quotient, either(fault_where(zero, "divide by zero"), fault_where(over, _OVERFLOW)))


def modulo(left: Ints, right: Ints) -> Vector:
    """The remainder has the sign of the dividend, as in C."""
    zero, over = right == 0, _wraps(left, right)
    safe = np.where(zero | over, np.int64(1), right)
    fault = either(fault_where(zero, "modulus by zero"), fault_where(over, _OVERFLOW))
    return Vector(np.fmod(left, safe), fault)


def _wraps(left: Ints, right: Ints) -> Mask:
    return np.equal(left, _LOWEST) & np.equal(right, -1)


def negate(values: Ints) -> Vector:
    return Vector(-values, fault_where(values == _LOWEST, _OVERFLOW))


def to_int(values: NDArray[np.float64]) -> Vector:
    """Truncated toward zero; a fault outside of int64."""
    fits = (values > -float(_BOUND)) & (values < float(_BOUND))
    whole = np.where(fits, values, 0.0).astype(np.int64)
    return Vector(whole, fault_where(~fits, "double out of int64 range"))


def to_double(values: Ints) -> Vector:
    return Vector(values.astype(np.float64))


def plain(operation: Callable[..., Any]) -> Callable[..., Vector]:
    """An operation of numpy that always has a value."""
    return lambda *operands: Vector(operation(*operands))
