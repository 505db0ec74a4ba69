# SPDX-License-Identifier: Apache-2.0
"""Membership in lists: of the request (one look-up a distinct element) and of the catalogue (postings)."""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce
from typing import Any

import numpy as np
from numpy.typing import NDArray

from endcap_runtime.graph.columns import ListsAt, Words
from endcap_runtime.graph.expressions.vector import Mask, Vector, either

_FEW = 16  # up to here a comparison an element is faster than a sort


def member(equal: Callable[[Any, Any], Vector], element: Vector, container: Vector) -> Vector:
    """`element in container`; `equal` compares values of the element's type."""
    fault = either(element.fault, container.fault)
    if isinstance(container.values, tuple):
        found = [equal(element.values, each.values).values for each in container.values]
        return Vector(reduce(np.logical_or, found, np.zeros(1, dtype=np.bool_)), fault)
    if isinstance(container.values, ListsAt):
        return Vector(_in_column(element.values, container.values), fault)
    return Vector(_in_list(element.values, container.values), fault)


def _in_list(element: Any, values: list[Any]) -> Mask:
    if isinstance(element, Words):
        return _among(element.codes, element.vocabulary.codes(values))
    return _among(element, np.array(values, dtype=element.dtype))


def _among(values: NDArray[Any], members: NDArray[Any]) -> Mask:
    if len(members) > _FEW:
        return np.isin(values, members)
    found = np.zeros(len(values), dtype=np.bool_)
    for each in members:
        found |= values == each
    return found


def _in_column(element: Any, column: ListsAt) -> Mask:
    values = element.decode() if isinstance(element, Words) else element
    if len(values) == 1:
        return column.holds(values[0])
    pairs = zip(values, column.decode(), strict=True)
    return np.array([any(value == each for each in held) for value, held in pairs], dtype=np.bool_)


def sizes(container: Vector) -> Vector:
    values = container.values
    if isinstance(values, ListsAt):
        return Vector(values.lengths(), container.fault)
    return Vector(np.array([len(values)], dtype=np.int64), container.fault)
