# SPDX-License-Identifier: Apache-2.0
"""What can be wrong with what is given: each names the field and the remedy, and is read by a person."""

from __future__ import annotations

import math
from typing import Any

_JSON_NAMES: dict[type, str] = {
    str: "a text", bool: "a boolean", int: "a number", float: "a number",
    list: "an array", dict: "an object", type(None): "null",
}  # fmt: skip


class Invalid(ValueError):
    """`field` is what is wrong, as its author wrote it; `message` says how, and what to do."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(f"{field}: {message}")
        self.field = field
        self.message = message


class InvalidView(Invalid):
    """A view that cannot be packed; the API refuses it before."""


class InvalidEntity(Invalid):
    """A key of an entity."""


class InvalidEvent(Invalid):
    """An event that a view reads, and that cannot be counted."""


class InvalidRow(Invalid):
    """A value of a row."""


def kind_of(value: Any) -> str:
    """What was given, in JSON's words."""
    if type(value) is float and not math.isfinite(value):
        return "one that is not finite"
    return _JSON_NAMES.get(type(value), "something else")
