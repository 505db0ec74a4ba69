# SPDX-License-Identifier: Apache-2.0
"""Storage `tiles`: for each window a ring of tiles, each a few whole numbers over the events of its span of time.

A ring holds the tiles up to its newest; one that the time asked about has passed is masked out, so a quiet entity
decays without being written.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from endcap_runtime.features.statuses import Status
from endcap_runtime.features.windows.evaluated import Array, Cell, Evaluated, unusable, values_of
from endcap_runtime.features.windows.header import HEADER_FIELDS, RING, SIZE, headers, table_of

FARTHEST = 2**62
NO_TILE = 2**32 - 1
SUMMED = ("count", "sum", "mean")
_LOW = np.int64(2**32 - 1)
_HIGH = np.uint64(32)
_WORD = np.dtype("<i8")


class Place(NamedTuple):
    """A number of a slot: its field, and of a pair of counts which one (they are summed as one number)."""

    field: str
    half: int | None = None


@dataclass(frozen=True)
class Tier:
    """The ring of one window at `offset` of the state; `mark` is where its newest tile is written."""

    window_ms: int
    tile_ms: int
    slot: np.dtype[Any]
    offset: int
    mark: int

    @property
    def slots(self) -> int:
        """All tiles that a window touches, and one that is being overwritten."""
        return self.window_ms // self.tile_ms + 2

    @property
    def end(self) -> int:
        return self.offset + self.slots * self.slot.itemsize

    def first_ms(self, now_ms: int) -> int:
        """Where the window begins that ends now."""
        return (now_ms - self.window_ms) // self.tile_ms * self.tile_ms

    def inside(self, newest: NDArray[np.uint32], now_ms: int) -> NDArray[np.bool_]:
        """Which slots hold a tile of the window that ends now, [N, slots]; `newest` [N]: their newest tiles."""
        first, last = self.first_ms(now_ms) // self.tile_ms, now_ms // self.tile_ms
        tiles = _wanted(self.slots, first, last)
        mask: NDArray[np.bool_] = tiles <= newest[:, None]
        if (
            len(newest) and int(newest.max()) > last + 1
        ):  # a clock went back: what was overwritten is not there
            mask &= tiles.astype(np.int64) > newest[:, None].astype(np.int64) - self.slots
        return mask


@dataclass(frozen=True)
class RingColumn:
    """`op`: count, sum, mean, min, max or last; `numbers` are what it needs of a slot."""

    cell: Cell
    op: str
    tier: int
    numbers: tuple[Place, ...]


@dataclass(frozen=True)
class Ring:
    """`dtype` is that of a state."""

    tiers: tuple[Tier, ...]
    columns: tuple[RingColumn, ...]
    ttl_ms: int

    @cached_property
    def dtype(self) -> np.dtype[Any]:
        names: list[str] = ["head"]
        formats: list[np.dtype[Any]] = [np.dtype(HEADER_FIELDS)]
        offsets = [0]
        for number, tier in enumerate(self.tiers):
            names += [f"newest{number}", f"tier{number}"]
            formats += [np.dtype("<u4"), np.dtype((tier.slot, (tier.slots,)))]
            offsets += [tier.mark, tier.offset]
        size = -(-self.tiers[-1].end // 8) * 8
        return np.dtype({"names": names, "formats": formats, "offsets": offsets, "itemsize": size})

    @cached_property
    def _cells(self) -> list[Cell]:
        return [column.cell for column in self.columns]

    @cached_property
    def _sums(self) -> list[int]:
        return [row for row, column in enumerate(self.columns) if column.op in ("sum", "mean")]

    def evaluate(self, states: Sequence[bytes | None], now_ms: int) -> Evaluated:
        """States [N] at `now_ms`; raises nothing: a state that cannot be read is ERROR."""
        table = table_of(states, self.dtype)
        head = headers(table["head"], RING, states)
        windows = tuple((self.tiers[column.tier].first_ms(now_ms), now_ms) for column in self.columns)
        aggregates = _Aggregates(self, table, now_ms, (len(self.columns), len(states)))
        status, blank = unusable(head, self.ttl_ms, now_ms)
        statuses = np.where(blank, status, aggregates.nothing.view(np.uint8))
        for row in self._sums if head.extra.any() else ():
            statuses[row, (head.extra >= windows[row][0]) & (statuses[row] == Status.PRESENT)] = Status.ERROR
        values = values_of(self._cells, aggregates.whole, aggregates.divisors, statuses != 0)
        return Evaluated(tuple(values), statuses, windows, head.written)


class _Aggregates:
    """Whole numbers and divisors of all columns, and where there was nothing to aggregate, each [F, N]."""

    def __init__(self, ring: Ring, table: Array, now_ms: int, shape: tuple[int, int]) -> None:
        self.whole = np.zeros(shape, np.int64)
        self.divisors = np.empty(shape, np.int64)
        self.nothing = np.zeros(shape, np.bool_)
        self._slots = [table[f"tier{i}"] for i in range(len(ring.tiers))]
        self._masks = [tier.inside(table[f"newest{i}"], now_ms) for i, tier in enumerate(ring.tiers)]
        self._totals: dict[int, Array] = {}
        for row, column in enumerate(ring.columns):
            self.divisors[row] = column.cell.scale
            if column.op in SUMMED:
                self._sum(row, column)
            elif column.op == "last":
                self._last(row, column)
            else:
                self._extreme(row, column)

    def _sum(self, row: int, column: RingColumn) -> None:
        self.whole[row] = self._total(column.tier, column.numbers[0])
        if column.op == "mean":
            counts = self._total(column.tier, column.numbers[1])
            self.divisors[row] *= np.maximum(counts, 1)
            self.nothing[row] = counts == 0

    def _total(self, tier: int, place: Place) -> Array:
        """The sum [N] over the window; that of a pair holds both counts, the first in its lower half."""
        if tier not in self._totals:
            self._totals[tier] = _sums(self._slots[tier], self._masks[tier])
        names = self._slots[tier].dtype.names or ()
        total: Array = self._totals[tier][:, names.index(place.field)]
        if place.half is not None:
            total = (total.view(np.uint64) >> _HIGH if place.half else total & _LOW).astype(np.int64)
        return total

    def _extreme(self, row: int, column: RingColumn) -> None:
        numbers, mask = self._slots[column.tier][column.numbers[0].field], self._masks[column.tier]
        if column.op == "min":
            self.whole[row] = np.where(mask, numbers, FARTHEST).min(axis=1)
        else:
            self.whole[row] = np.where(mask, numbers, -FARTHEST).max(axis=1)
        self.nothing[row] = np.abs(self.whole[row]) == FARTHEST

    def _last(self, row: int, column: RingColumn) -> None:
        slots = self._slots[column.tier]
        times, values = (slots[place.field] for place in column.numbers)
        newest = np.where(self._masks[column.tier], times, 0)
        slot, rows = newest.argmax(axis=1), np.arange(len(times))
        self.whole[row] = values[rows, slot]
        self.nothing[row] = newest[rows, slot] == 0


def _sums(slots: Array, mask: NDArray[np.bool_]) -> Array:
    """Of each number of a slot the sum [N, numbers] over the slots in `mask`: all in one pass over the states."""
    numbers, left = divmod(slots.dtype.itemsize, _WORD.itemsize)
    sums: Array
    if left:  # one count alone
        sums = np.einsum("ij,ij->i", slots["count"], mask).astype(np.int64)[:, None]
    else:
        words = slots.view(_WORD).reshape(*slots.shape, numbers)
        sums = np.matvec(words.transpose(0, 2, 1), mask.astype(_WORD))
    return sums


@lru_cache(maxsize=256)
def _wanted(slots: int, first: int, last: int) -> NDArray[np.uint32]:
    """The tile that each slot holds when it is of the window; the same for all that ask within a tile's time."""
    wanted = np.arange(first, last + 1)
    tiles = np.full(slots, NO_TILE, np.uint32)
    tiles[wanted % slots] = wanted
    return tiles


def mark_of(tier: int) -> int:
    """Where a tier's newest tile is written."""
    return SIZE + 4 * tier


def start_of(tiers: int) -> int:
    """Where the first ring begins; each begins at a multiple of 8."""
    return -(-mark_of(tiers) // 8) * 8
