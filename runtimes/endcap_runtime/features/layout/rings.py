# SPDX-License-Identifier: Apache-2.0
"""Storage `tiles`: what an event adds to one slot of each window's ring.

The library merges a slot that is there and empties those that time has passed over. It is told both in bytes: what the
event alone makes of a slot, and what a slot is in which nothing happened. A number over nothing is the one that
changes nothing when it is merged.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from endcap_api.feature_columns import FeatureColumn
from endcap_api.v1alpha1.featureview import Feature
from endcap_runtime.features.layout.inputs import Inputs, Seen
from endcap_runtime.features.windows import Cell, Ring, RingColumn, Tier
from endcap_runtime.features.windows.rings import FARTHEST, Place, mark_of, start_of

# An aggregation, as the numbers that a slot keeps for it.
NEEDS = {
    "count": ("count",),
    "sum": ("sum",),
    "mean": ("sum", "count"),
    "min": ("min",),
    "max": ("max",),
    "last": ("time", "value"),
}
_CODES = {"sum": "s", "min": "n", "max": "x", "time": "L", "value": "v"}
_IDENTITY = {"count": 0, "sum": 0, "min": FARTHEST, "max": -FARTHEST, "time": 0, "value": 0}
_SIZES = struct.Struct("<IH")
_PLACE = struct.Struct("<HIII")
_LENGTH = struct.Struct("<H")


class Number(NamedTuple):
    """A number of a slot: what is done to it, over the events of a predicate, from a field."""

    op: str
    predicate: int
    field: int | None


class Slot(NamedTuple):
    """How the slots of a tier are packed: numbers of 64 bits, then counts of 32, two to a word."""

    numbers: tuple[Number, ...]

    @property
    def narrow(self) -> list[Number]:
        return [number for number in self.numbers if number.op == "count"]

    @property
    def wide(self) -> list[Number]:
        return [number for number in self.numbers if number.op != "count"]

    @property
    def padding(self) -> int:
        """Bytes after an odd count, unless it is alone: a word is read the faster for being aligned."""
        return 4 if len(self.narrow) % 2 and len(self.numbers) > 1 else 0

    @property
    def ops(self) -> bytes:
        """For the library: one letter a number, in order."""
        letters = [_CODES[number.op] for number in self.wide]
        return "".join([*letters, *("c" for _ in self.narrow), "p" * (self.padding // 4)]).encode()

    @property
    def dtype(self) -> np.dtype[Any]:
        fields: list[Any] = [(f"wide{i}", "<i8") for i in range(len(self.wide))]
        words = (len(self.narrow) * 4 + self.padding) // 8
        return np.dtype([*fields, *((f"pair{i}", "<u8") for i in range(words))] or [("count", "<u4")])

    @property
    def struct(self) -> struct.Struct:
        return struct.Struct(f"<{len(self.wide)}q{len(self.narrow)}I{self.padding}x")

    def place(self, number: Number) -> Place:
        if number.op != "count":
            return Place(f"wide{self.wide.index(number)}")
        if len(self.numbers) == 1:
            return Place("count")
        word, half = divmod(self.narrow.index(number), 2)
        return Place(f"pair{word}", half)


class _Packed(NamedTuple):
    """A tier ready to be written: its slots, what the library is told of them, and one that is empty."""

    tier: Tier
    slot: Slot
    struct: struct.Struct
    ops: bytes
    empty: bytes


@dataclass(frozen=True)
class RingPacking:
    """`features`: for each column its feature and the feature's position; `tiles`: tile of each window, in ms."""

    inputs: Inputs
    features: tuple[tuple[Feature, int], ...]
    columns: tuple[FeatureColumn, ...]
    tiles: dict[int, int]

    @cached_property
    def slots(self) -> dict[int, Slot]:
        """By window."""
        numbers: dict[int, dict[Number, None]] = {window: {} for window in self.tiles}
        for (feature, position), column in zip(self.features, self.columns, strict=True):
            numbers[column.window_ms or 0].update(dict.fromkeys(self._numbers(feature, position)))
        return {window: Slot(tuple(kept)) for window, kept in numbers.items()}

    def _numbers(self, feature: Feature, position: int) -> list[Number]:
        predicate, field = self.inputs.of[position]
        return [
            Number(op, predicate, None if op == "count" else field) for op in NEEDS[str(feature.aggregation)]
        ]

    @cached_property
    def packed(self) -> tuple[_Packed, ...]:
        built: list[_Packed] = []
        offset = start_of(len(self.tiles))
        for window, tile in self.tiles.items():
            slot = self.slots[window]
            tier = Tier(window, tile, slot.dtype, offset, mark_of(len(built)))
            empty = slot.struct.pack(*(_IDENTITY[number.op] for number in (*slot.wide, *slot.narrow)))
            built.append(_Packed(tier, slot, slot.struct, slot.ops, empty))
            offset = -(-tier.end // 8) * 8
        return tuple(built)

    @cached_property
    def size(self) -> int:
        return self.reader([], 0).dtype.itemsize

    @cached_property
    def _sizes(self) -> bytes:
        return _SIZES.pack(self.size, self.packed[0].tier.offset)

    def change(self, seen: Seen, time_ms: int) -> bytes:
        """For the library: the sizes of a state and of its head, then what happens to each tier."""
        touched = (packed for packed in self.packed if _touches(packed.slot, seen.bits))
        return self._sizes + b"".join(_slot(packed, seen, time_ms) for packed in touched)

    def reader(self, cells: Sequence[Cell], ttl_ms: int) -> Ring:
        tiers = {window: i for i, window in enumerate(self.tiles)}
        columns = []
        for (feature, position), column, cell in zip(self.features, self.columns, cells, strict=bool(cells)):
            window = column.window_ms or 0
            places = tuple(self.slots[window].place(number) for number in self._numbers(feature, position))
            columns.append(RingColumn(cell, str(feature.aggregation), tiers[window], places))
        return Ring(tuple(packed.tier for packed in self.packed), tuple(columns), ttl_ms)

    def meaning(self) -> list[Any]:
        return [
            self.inputs.predicates,
            self.inputs.fields,
            [[window, tile, self.slots[window].numbers] for window, tile in self.tiles.items()],
        ]


def _slot(packed: _Packed, seen: Seen, time_ms: int) -> bytes:
    """Where the tier's newest tile is written, its ring, the tile; the ops, the slot of this event, an empty slot."""
    tier, slot = packed.tier, packed.slot
    numbers = [_contribution(number, seen, time_ms) for number in (*slot.wide, *slot.narrow)]
    length = _LENGTH.pack(packed.struct.size)
    return b"".join((
        _PLACE.pack(tier.mark, tier.offset, tier.slots, time_ms // tier.tile_ms),
        bytes((len(packed.ops),)), packed.ops,
        length, packed.struct.pack(*numbers),
        length, packed.empty,
    ))  # fmt: skip


def _touches(slot: Slot, bits: int) -> bool:
    return any(bits >> number.predicate & 1 for number in slot.numbers)


def _contribution(number: Number, seen: Seen, time_ms: int) -> Any:
    """What one event makes of a number over nothing."""
    if not seen.bits >> number.predicate & 1:
        return _IDENTITY[number.op]
    if number.op == "count":
        return 1
    return time_ms if number.op == "time" else seen.fields[number.field or 0]
