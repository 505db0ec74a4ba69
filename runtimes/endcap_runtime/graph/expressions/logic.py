# SPDX-License-Identifier: Apache-2.0
"""And, or, not and the conditional, with the errors that CEL lets them absorb."""

from __future__ import annotations

from typing import Any

import numpy as np

from endcap_runtime.graph.columns import Words
from endcap_runtime.graph.expressions.vector import Fault, Mask, Vector, chosen, either, fault_where


def negation(operand: Vector) -> Vector:
    return Vector(~operand.values, operand.fault)


def conjunction(left: Vector, right: Vector) -> Vector:
    """False wherever one side is false, whatever became of the other."""
    if left.fault is None and right.fault is None:
        return Vector(left.values & right.values)
    decided = _certainly(~left.values, left.fault) | _certainly(~right.values, right.fault)
    return Vector(left.values & right.values & ~decided, _undecided(left.fault, right.fault, decided))


def disjunction(left: Vector, right: Vector) -> Vector:
    """True wherever one side is true, whatever became of the other."""
    if left.fault is None and right.fault is None:
        return Vector(left.values | right.values)
    decided = _certainly(left.values, left.fault) | _certainly(right.values, right.fault)
    return Vector(decided, _undecided(left.fault, right.fault, decided))


def _certainly(values: Mask, fault: Fault | None) -> Mask:
    return values if fault is None else values & ~fault.where


def _undecided(left: Fault | None, right: Fault | None, decided: Mask) -> Fault | None:
    fault = either(left, right)
    return fault and fault_where(fault.where & ~decided, fault.message)


def conditional(condition: Vector, then: Vector, other: Vector) -> Vector:
    """The branch that the condition takes; a fault of the other branch is none."""
    fault = either(condition.fault, chosen(condition.values, then.fault, other.fault))
    return Vector(_picked(condition.values, then.values, other.values), fault)


def _picked(condition: Mask, then: Any, other: Any) -> Any:
    if not isinstance(then, Words):
        return np.where(condition, then, other)
    if then.vocabulary is other.vocabulary:
        return Words(np.where(condition, then.codes, other.codes), then.vocabulary)
    return Words.of(np.where(condition, then.decode(), other.decode()))
