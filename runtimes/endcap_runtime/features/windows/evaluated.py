# SPDX-License-Identifier: Apache-2.0
"""What a lookup is told of each column, and the last step that logs and rings share: whole numbers into values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from endcap_runtime.features.statuses import Status
from endcap_runtime.features.windows.header import Headers

Array = NDArray[Any]
DTYPES: dict[str, Any] = {
    "integer": np.int64,
    "number": np.float64,
    "boolean": np.bool_,
    "string": object,
    "array": object,
}


@dataclass(frozen=True, slots=True)
class Evaluated:
    """N entities, F columns. `values`: an array [N] a column, of objects for texts and lists; `statuses` [F, N].

    `windows`: from and to in ms, or None, a column; `updated_ms` [N]: when the state was last written, 0 for never.
    """

    values: tuple[Array, ...]
    statuses: NDArray[np.uint8]
    windows: tuple[tuple[int, int] | None, ...]
    updated_ms: NDArray[np.int64]


@dataclass(frozen=True)
class Cell:
    """Type and default of a column; numbers are kept as multiples of 1/scale."""

    type: str
    default: Any
    scale: int = 1

    def filled(self, rows: int) -> Array:
        """The default, `rows` times."""
        values = np.empty(rows, DTYPES[self.type])
        for row in range(rows) if values.dtype == object else ():
            values[row] = self.default
        if values.dtype != object:
            values.fill(self.default)
        return values


def unusable(headers: Headers, ttl_ms: int, now_ms: int) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """The statuses [N] of states as a whole, and which of them give the default."""
    status = np.zeros(len(headers.known), np.uint8)
    old = np.less(headers.written, now_ms - ttl_ms)
    if old.any():  # what was never written is old, too
        status[old] = Status.EXPIRED
        status[~headers.known] = Status.DEFAULTED
        status[headers.broken] = Status.ERROR
    return status, np.not_equal(status, 0)


def values_of(cells: Sequence[Cell], whole: Array, divisors: Array, blank: NDArray[np.bool_]) -> list[Array]:
    """Whole numbers [F, N] over `divisors` [F, N] as columns; where `blank` [F, N], the default."""
    floats = whole / divisors
    empty: list[bool] = np.logical_or.reduce(blank, axis=1).tolist()
    return [
        _column(cell, floats[row] if cell.type == "number" else whole[row], blank[row], empty=empty[row])
        for row, cell in enumerate(cells)
    ]


def _column(cell: Cell, values: Array, blank: NDArray[np.bool_], *, empty: bool) -> Array:
    if cell.type == "boolean":
        values = values != 0
    return np.where(blank, cell.default, values) if empty else values
