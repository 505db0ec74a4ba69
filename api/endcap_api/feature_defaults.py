# SPDX-License-Identifier: Apache-2.0
"""Whether the default of a feature is a value that the feature can have.

The field takes any value, and the API server's rules cannot look into such a field: so it is judged here.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from endcap_api.v1alpha1.featureview import MAX_ITEMS, MAX_LENGTH, Feature

_INT64 = range(-(2**63), 2**63)
# What an aggregate over nothing is, whatever the default says.
_EMPTY_IS_ZERO = ("count", "sum", "distinct")


def default_problem(feature: Feature) -> str | None:
    """What is wrong with the default of a feature, with the remedy; None where nothing is."""
    value = feature.default
    if value is None:
        return None
    if feature.type == "array":
        return _array_problem(feature, value)
    problem = _SCALARS[feature.type](feature, value)
    if problem is None and feature.aggregation in _EMPTY_IS_ZERO and value != 0:
        return f"a {feature.aggregation} over no event is 0: remove the default"
    return problem


def _array_problem(feature: Feature, value: Any) -> str | None:
    if not isinstance(value, list):
        return "is no list, and the feature is an array: write it as [] or [a, b]"
    most = feature.max_items or MAX_ITEMS
    if len(value) > most:
        return f"has {len(value)} elements of {most}: raise maxItems or shorten it"
    check = _SCALARS[feature.items.type] if feature.items else _string_problem
    found = (check(feature, element) for element in value)
    return next((f"one of its elements {problem}" for problem in found if problem), None)


def _string_problem(feature: Feature, value: Any) -> str | None:
    if not isinstance(value, str):
        return "is no string: write it in quotes"
    try:
        length, most = len(value.encode()), feature.max_length or MAX_LENGTH
    except UnicodeEncodeError:
        return "holds half a character (a lone surrogate): write valid Unicode"
    return f"has {length} bytes of {most}: raise maxLength or shorten it" if length > most else None


def _integer_problem(feature: Feature, value: Any) -> str | None:  # noqa: ARG001  # as its siblings
    if not isinstance(value, int) or isinstance(value, bool):
        return "is no whole number: write one without quotes, or make the feature a number"
    return None if value in _INT64 else "is no int64: use a number between -2^63 and 2^63 - 1"


def _number_problem(feature: Feature, value: Any) -> str | None:  # noqa: ARG001  # as its siblings
    if not isinstance(value, int | float) or isinstance(value, bool):
        return "is no number: write one without quotes"
    return None if _finite(value) else "is not finite: use a number that a float64 holds"


def _finite(value: float) -> bool:
    try:
        return math.isfinite(float(value))
    except OverflowError:
        return False


def _boolean_problem(feature: Feature, value: Any) -> str | None:  # noqa: ARG001  # as its siblings
    return None if isinstance(value, bool) else "is neither true nor false: write one of them without quotes"


_SCALARS: dict[str, Callable[[Feature, Any], str | None]] = {
    "string": _string_problem,
    "integer": _integer_problem,
    "number": _number_problem,
    "boolean": _boolean_problem,
}
