# SPDX-License-Identifier: Apache-2.0
"""Rows that are written as a whole: precomputed by a job, or derived from what a graph answered."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from endcap_runtime.features.statuses import Status
from endcap_runtime.features.windows.evaluated import Array, Cell, Evaluated, unusable
from endcap_runtime.features.windows.header import HEADER_FIELDS, ROW, headers, table_of


@dataclass(frozen=True)
class RowColumn:
    """`dtype` is that of the column, or of an array's elements; `items` is an array's element type, `most` its size."""

    cell: Cell
    dtype: np.dtype[Any]
    items: str | None = None
    most: int = 0


@dataclass(frozen=True)
class Row:
    """`version` is the hash of the model version that counts; 0: any."""

    columns: tuple[RowColumn, ...]
    ttl_ms: int
    version: int = 0

    @cached_property
    def dtype(self) -> np.dtype[Any]:
        """The header, a bit for each column that is set, the columns; arrays with how many elements they have."""
        fields: list[Any] = [*HEADER_FIELDS, ("set", "<u8")]
        for position, column in enumerate(self.columns):
            if column.items:
                fields += [(f"length{position}", "<u2"), (f"c{position}", column.dtype, (column.most,))]
            else:
                fields.append((f"c{position}", column.dtype))
        return np.dtype(fields)

    @cached_property
    def _bits(self) -> NDArray[np.uint64]:
        return np.array([[1 << position] for position in range(len(self.columns))], np.uint64)

    def evaluate(self, states: Sequence[bytes | None], now_ms: int) -> Evaluated:
        """States [N] at `now_ms`; raises nothing: a state that cannot be read is ERROR."""
        table = table_of(states, self.dtype)
        head = headers(table, ROW, states)
        status, blank = unusable(head, self.ttl_ms, now_ms)
        if self.version:
            other = head.known & (head.extra != self.version)
            status[other], blank = Status.EXPIRED, blank | other
        unset: NDArray[np.bool_] = (table["set"] & self._bits) == 0
        statuses = np.where(blank, status, unset.view(np.uint8))  # DEFAULTED is 1
        unset |= blank
        empty = np.logical_or.reduce(unset, axis=1).tolist()
        values = tuple(
            self._column(position, column, table, unset[position], empty=empty[position])
            for position, column in enumerate(self.columns)
        )
        return Evaluated(values, statuses, (None,) * len(self.columns), head.written)

    @staticmethod
    def _column(
        position: int, column: RowColumn, table: Array, blank: NDArray[np.bool_], *, empty: bool
    ) -> Array:
        stored = table[f"c{position}"]
        if column.cell.type in ("string", "array"):
            lengths = table[f"length{position}"] if column.items else None
            return _objects(column, stored, lengths, blank)
        if empty:
            return np.where(blank, column.cell.default, stored)
        return np.ascontiguousarray(stored)


def _objects(column: RowColumn, stored: Array, lengths: Array | None, blank: NDArray[np.bool_]) -> Array:
    values = column.cell.filled(len(blank))
    cells = stored.tolist()
    if lengths is not None:
        cells = [_list(column, cell[:length]) for cell, length in zip(cells, lengths.tolist(), strict=True)]
    else:
        cells = _texts(cells)
    for row in np.flatnonzero(~blank).tolist():
        values[row] = cells[row]
    return values


def _texts(stored: list[bytes]) -> list[str]:
    try:
        return list(map(bytes.decode, stored))
    except UnicodeDecodeError:  # of a state that somebody else wrote
        return [text.decode("utf-8", "replace") for text in stored]


def _list(column: RowColumn, elements: list[Any]) -> list[Any]:
    return _texts(elements) if column.items == "string" else elements
