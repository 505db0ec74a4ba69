# SPDX-License-Identifier: Apache-2.0
"""JSON values as the types of the API: what fits comes back in Python's own type, what does not says why."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

Read = Callable[[Any], object]
Json = dict[str, Any]

SCHEMAS: Mapping[str, Json] = {
    "string": {"type": "string"},
    "product": {"type": "string"},
    "integer": {"type": "integer", "format": "int64"},
    "number": {"type": "number", "format": "double"},
    "boolean": {"type": "boolean"},
}

_INT64 = range(-(2**63), 2**63)
EMPTY: Mapping[str, object] = {"string": "", "product": "", "integer": 0, "number": 0.0, "boolean": False}


class Fault(Exception):
    """A value does not fit its field; `at` is where in the field, e.g. `[2]`."""

    def __init__(self, message: str, at: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.at = at


def _string(value: Any) -> str:
    if type(value) is str:
        return value
    raise Fault(f"is {_called(value)}, not a string")


def _integer(value: Any) -> int:
    if type(value) is float and value.is_integer():
        value = int(value)
    if type(value) is not int:
        raise Fault(f"is {_called(value)}, not an integer")
    if value not in _INT64:
        raise Fault("does not fit into 64 bits")
    return value


def _number(value: Any) -> float:
    if type(value) in (int, float):
        return float(value)
    raise Fault(f"is {_called(value)}, not a number")


def _boolean(value: Any) -> bool:
    if type(value) is bool:
        return value
    raise Fault(f"is {_called(value)}, not true or false")


READERS: Mapping[str, Read] = {
    "string": _string,
    "product": _string,
    "integer": _integer,
    "number": _number,
    "boolean": _boolean,
}
_NAMES = {
    type(None): "null",
    str: "a string",
    bool: "true or false",
    int: "a number",
    float: "a number",
    list: "an array",
    dict: "an object",
}


def array_of(element: Read, most: int) -> Read:
    """A reader of arrays of at most `most` elements."""

    def read(value: Any) -> list[object]:
        if type(value) is not list:
            raise Fault(f"is {_called(value)}, not an array")
        if len(value) > most:
            raise Fault(f"has {len(value)} elements of {most} allowed")
        return [_element(element, place, each) for place, each in enumerate(value)]

    return read


def _element(read: Read, place: int, value: Any) -> object:
    try:
        return read(value)
    except Fault as fault:
        raise Fault(fault.message, f"[{place}]") from None


def _called(value: Any) -> str:
    return _NAMES[type(value)]
