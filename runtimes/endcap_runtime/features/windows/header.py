# SPDX-License-Identifier: Apache-2.0
"""The first 24 bytes of every state: its format and kind, when it was written, and one number of its kind.

That number is, of a log, the time of the newest event that was dropped; of a row, a hash of the model's version.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

FORMAT = 1
LOG, RING, ROW = 1, 2, 3
HEADER = struct.Struct("<BBHIqq")
HEADER_FIELDS: list[Any] = [
    ("sort", "<u2"),  # format, then kind: read as one number
    ("unused", "<u2"),
    ("unused_too", "<u4"),
    ("written", "<i8"),
    ("extra", "<i8"),
]
SIZE = HEADER.size
_DTYPE = np.dtype(HEADER_FIELDS)
_ABSENT = bytes(SIZE)


def packed(kind: int, written: int, extra: int = 0) -> bytes:
    """`written` in ms."""
    return HEADER.pack(FORMAT, kind, 0, 0, written, extra)


class Headers(NamedTuple):
    """Of N states: which are there, which cannot be read, when each was written (ms; 0: never), the number."""

    known: NDArray[np.bool_]
    broken: NDArray[np.bool_]
    written: NDArray[np.int64]
    extra: NDArray[np.int64]


def headers(table: NDArray[Any], kind: int, states: Sequence[bytes | None]) -> Headers:
    """Of a table [N] with the header's fields, in which what is not there, or not whole, is zeros."""
    known = table["sort"] == FORMAT | kind << 8
    written, extra = table["written"], table["extra"]
    if known.all():
        return Headers(known, ~known, written, extra)
    broken = np.fromiter((state is not None for state in states), np.bool_, len(states)) & ~known
    return Headers(known, broken, np.where(known, written, 0), np.where(known, extra, 0))


def table_of(states: Sequence[bytes | None], dtype: np.dtype[Any]) -> NDArray[Any]:
    """States of one size as a table [N]; what is not there, or of another size, is zeros."""
    size = dtype.itemsize
    nothing = bytes(size)
    there = [state or nothing for state in states]
    if set(map(len, there)) != {size}:
        there = [state if len(state) == size else nothing for state in there]
    return np.frombuffer(b"".join(there), dtype)


def heads_of(states: Sequence[bytes | None], record: int) -> NDArray[Any]:
    """The headers [N] of states that a header and whole records make up; zeros for the others."""
    return np.frombuffer(b"".join(_head(state, record) for state in states), _DTYPE)


def _head(state: bytes | None, record: int) -> bytes:
    whole = state is not None and len(state) >= SIZE and (len(state) - SIZE) % record == 0
    return state[:SIZE] if state is not None and whole else _ABSENT
