# SPDX-License-Identifier: Apache-2.0
"""Storage `tiles`: for each window a ring of tiles, each a few whole numbers over the events of its span of time.

A slot counts when it holds the tile that belongs there now; so a quiet entity decays without being written.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from endcap_runtime.features.windows.evaluated import Array, Cell, Evaluated, Status, unusable, values_of
from endcap_runtime.features.windows.header import HEADER_FIELDS, RING, headers, table_of

FARTHEST = 2**62
OVERFLOWN = -(2**63)  # a sum of which the store no longer knows the last digits
NO_TILE = 2**32 - 1


@dataclass(frozen=True)
class Tier:
    """The ring of one window: `slot` has the field tile and one a number that is kept."""

    window_ms: int
    tile_ms: int
    slot: np.dtype[Any]

    @property
    def slots(self) -> int:
        """All tiles that a window touches, and one that is being overwritten."""
        return self.window_ms // self.tile_ms + 2

    def first_ms(self, now_ms: int) -> int:
        """Where the window begins that ends now."""
        return (now_ms - self.window_ms) // self.tile_ms * self.tile_ms

    def tiles(self, now_ms: int) -> NDArray[np.uint32]:
        """The tile that each slot must hold to be of the window that ends now, [slots]."""
        first, last = self.first_ms(now_ms) // self.tile_ms, now_ms // self.tile_ms
        wanted = np.arange(first, last + 1)
        tiles = np.full(self.slots, NO_TILE, np.uint32)
        tiles[wanted % self.slots] = wanted
        return tiles


@dataclass(frozen=True)
class RingColumn:
    """`op`: count, sum, mean, min, max or last; `numbers` are the fields of a slot that it needs."""

    cell: Cell
    op: str
    tier: int
    numbers: tuple[str, ...]


@dataclass(frozen=True)
class Ring:
    tiers: tuple[Tier, ...]
    columns: tuple[RingColumn, ...]
    ttl_ms: int

    @cached_property
    def dtype(self) -> np.dtype[Any]:
        rings = [(f"tier{i}", tier.slot, (tier.slots,)) for i, tier in enumerate(self.tiers)]
        return np.dtype([*HEADER_FIELDS, *rings])

    @cached_property
    def _cells(self) -> list[Cell]:
        return [column.cell for column in self.columns]

    @cached_property
    def _always(self) -> NDArray[np.bool_]:
        return np.array([[column.op in ("count", "sum")] for column in self.columns])

    def evaluate(self, states: Sequence[bytes | None], now_ms: int) -> Evaluated:
        """States [N] at `now_ms`; raises nothing: a state that cannot be read is ERROR."""
        table = table_of(states, self.dtype)
        head = headers(table, RING, states)
        whole, divisors, nothing, overflown = self._aggregates(table, now_ms)
        status, blank = unusable(head, self.ttl_ms, now_ms)
        statuses = np.where(nothing, Status.DEFAULTED, Status.PRESENT)
        statuses = np.where(overflown, Status.ERROR, statuses)
        statuses = np.where(blank, status, statuses).astype(np.uint8)
        return Evaluated(
            tuple(values_of(self._cells, whole, divisors, nothing | overflown | blank)),
            statuses,
            tuple((self.tiers[column.tier].first_ms(now_ms), now_ms) for column in self.columns),
            head.written,
        )

    def _aggregates(self, table: Array, now_ms: int) -> tuple[Array, Array, Array, Array]:
        """Whole numbers and divisors, and where there was nothing or too much, each [F, N]."""
        shape = len(self.columns), len(table)
        whole, divisors = np.zeros(shape, np.int64), np.ones(shape, np.int64)
        nothing, overflown = np.zeros(shape, np.bool_), np.zeros(shape, np.bool_)
        known = [table[f"tier{i}"] for i in range(len(self.tiers))]
        masks = [slots["tile"] == tier.tiles(now_ms) for slots, tier in zip(known, self.tiers, strict=True)]
        for row, column in enumerate(self.columns):
            slots, mask = known[column.tier], masks[column.tier]
            whole[row], nothing[row], divisors[row], overflown[row] = _aggregate(column, slots, mask)
        return whole, divisors, nothing, overflown


def _aggregate(column: RingColumn, slots: Array, mask: NDArray[np.bool_]) -> tuple[Any, Any, Any, Any]:
    """Whole numbers [N], where there was nothing, what to divide by, and where a sum is lost."""
    first, scale = slots[column.numbers[0]], column.cell.scale
    if column.op == "count":
        return _total(first, mask), False, scale, False
    if column.op in ("sum", "mean"):
        lost = ((first == OVERFLOWN) & mask).any(axis=1)
        counts = _total(slots[column.numbers[1]], mask) if column.op == "mean" else None
        divisor = scale if counts is None else np.maximum(counts, 1) * scale
        return _total(first, mask), False if counts is None else counts == 0, divisor, lost
    if column.op == "last":
        return _last(first, slots[column.numbers[1]], mask, scale)
    extreme = (
        np.where(mask, first, FARTHEST).min(axis=1)
        if column.op == "min"
        else (np.where(mask, first, -FARTHEST).max(axis=1))
    )
    return extreme, np.abs(extreme) == FARTHEST, scale, False


def _total(numbers: Array, mask: NDArray[np.bool_]) -> Any:
    return np.where(mask, numbers, 0).sum(axis=1, dtype=np.int64)


def _last(times: Array, values: Array, mask: NDArray[np.bool_], scale: int) -> tuple[Any, Any, Any, Any]:
    newest = np.where(mask, times, 0)
    slot = newest.argmax(axis=1)
    rows = np.arange(len(slot))
    return values[rows, slot], newest[rows, slot] == 0, scale, False
