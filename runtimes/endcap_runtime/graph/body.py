# SPDX-License-Identifier: Apache-2.0
"""A body as one JSON object, strictly: what two parsers could read differently is refused."""

from __future__ import annotations

from math import isinf
from typing import Any

from endcap_runtime.problems import Problem
from endcap_runtime.wire.faults import Malformed
from endcap_runtime.wire.json_columns import loads

_MAX_KEYS = 256


def json_object(body: bytes) -> dict[str, Any]:
    """Raises Problem 400 unless the body is one JSON object in UTF-8 without doubled keys, NaN or infinities."""
    try:
        value = loads(body)
    except Malformed as error:
        raise Problem(400, str(error)) from None
    if not isinstance(value, dict):
        raise Problem(400, 'The body is not a JSON object: send {"field": value, …}')
    if len(value) > _MAX_KEYS:
        raise Problem(400, f"The body has {len(value)} fields of {_MAX_KEYS} allowed")
    if _infinite(list(value.values())):
        raise Problem(400, "The body has a number that is too large for 64 bits of floating point")
    return value


def _infinite(values: list[Any]) -> bool:
    """Whether 1e999 or the like is among the values: the parser reads it as an infinity."""
    for value in values:
        if type(value) is float and isinf(value):
            return True
        if type(value) is list and _infinite(value):
            return True
    return False
