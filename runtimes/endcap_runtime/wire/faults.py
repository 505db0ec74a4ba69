# SPDX-License-Identifier: Apache-2.0
"""What can be wrong with a message: its form, or the values of its columns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

MOST_ERRORS = 20


class Malformed(ValueError):
    """The bytes are not the protocol; nothing was read from them. The message may be shown to the caller."""


class CellError(NamedTuple):
    """What is wrong with a column, or with its value in one row (counted from 0)."""

    column: str
    row: int | None
    message: str


class InvalidColumns(ValueError):
    """Columns that do not fit the schema: each wrong column, and the first rows in which it is wrong."""

    def __init__(self, errors: Sequence[CellError]) -> None:
        super().__init__("; ".join(f"{e.column}: {e.message}" for e in errors[:MOST_ERRORS]))
        self.errors = tuple(errors[:MOST_ERRORS])
