# SPDX-License-Identifier: Apache-2.0
"""The value of an expression for all candidates at once, together with where it has none.

CEL absorbs errors: `false && 1/0 == 1` is false. So an error is data here, a mask beside the values, until it is known
whether anything absorbs it. What is the same for every candidate has length 1 and numpy broadcasts it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from endcap_runtime.graph.expressions.scope import Scope

Mask = NDArray[np.bool_]


class Fault(NamedTuple):
    """Where, [n] or [1], there is no value, and why."""

    where: Mask
    message: str


class Vector(NamedTuple):
    """Values [n] or [1] by CEL type: arrays for bool, int and double, Words for string; for a list either a Python
    list (the same for every candidate), ListsAt, or a tuple of Vectors (its elements). At a fault they mean nothing.
    """

    values: Any
    fault: Fault | None = None


Evaluate = Callable[[Scope], Vector]


def fault_where(where: Mask, message: str) -> Fault | None:
    return Fault(where, message) if where.any() else None


def either(first: Fault | None, second: Fault | None) -> Fault | None:
    """A fault wherever one of the two is; the first one's words win."""
    if first is None or second is None:
        return first or second
    return Fault(first.where | second.where, first.message)


def chosen(condition: Mask, then: Fault | None, other: Fault | None) -> Fault | None:
    """The fault of the branch that is taken."""
    if then is None and other is None:
        return None
    where = np.where(condition, then.where if then else False, other.where if other else False)
    message = next(fault.message for fault in (then, other) if fault)
    return fault_where(where, message)
