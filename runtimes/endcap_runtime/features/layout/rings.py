# SPDX-License-Identifier: Apache-2.0
"""Storage `tiles`: what an event adds to one slot of each window's ring.

The library merges a slot that holds the same tile and overwrites one that holds an older, so the slot that an event
alone would make says all: a number over nothing is the one that changes nothing when it is merged.
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
from endcap_runtime.features.windows.header import SIZE
from endcap_runtime.features.windows.rings import FARTHEST

# An aggregation, as the numbers that a slot keeps for it.
NEEDS = {
    "count": ("count",),
    "sum": ("sum",),
    "mean": ("sum", "count"),
    "min": ("min",),
    "max": ("max",),
    "last": ("time", "value"),
}
_CODES = {"count": "c", "sum": "s", "min": "n", "max": "x", "time": "L", "value": "v"}
_IDENTITY = {"count": 0, "sum": 0, "min": FARTHEST, "max": -FARTHEST, "time": 0, "value": 0}
_OFFSET = struct.Struct("<I")


class Number(NamedTuple):
    """A number of a slot: what is done to it, over the events of a predicate, from a field."""

    op: str
    predicate: int
    field: int | None


class Slot(NamedTuple):
    """How the slots of a tier are packed: the tile, then counts of 32 bits, then numbers of 64."""

    numbers: tuple[Number, ...]

    @property
    def narrow(self) -> list[Number]:
        return [number for number in self.numbers if number.op == "count"]

    @property
    def wide(self) -> list[Number]:
        return [number for number in self.numbers if number.op != "count"]

    @property
    def padding(self) -> int:
        """Bytes that align the wide numbers."""
        return 4 if self.wide and len(self.narrow) % 2 == 0 else 0

    @property
    def ops(self) -> bytes:
        """For the library: one letter a number, in order."""
        letters = ["t", *("c" for _ in self.narrow), "p" * (self.padding // 4)]
        return "".join([*letters, *(_CODES[number.op] for number in self.wide)]).encode()

    @property
    def dtype(self) -> np.dtype[Any]:
        fields: list[Any] = [("tile", "<u4"), *((self.name(number), "<u4") for number in self.narrow)]
        fields += [("padding", "<u4")] * (self.padding // 4)
        return np.dtype([*fields, *((self.name(number), "<i8") for number in self.wide)])

    @property
    def struct(self) -> struct.Struct:
        return struct.Struct(f"<I{len(self.narrow)}I{self.padding}x{len(self.wide)}q")

    def name(self, number: Number) -> str:
        return f"n{self.numbers.index(number)}"


class _Packed(NamedTuple):
    """A tier ready to be written: where its ring begins, its slots and the one struct of them."""

    tier: Tier
    offset: int
    slot: Slot
    struct: struct.Struct
    ops: bytes


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
        built, offset = [], SIZE
        for window, tile in self.tiles.items():
            slot = self.slots[window]
            tier = Tier(window, tile, slot.dtype)
            built.append(_Packed(tier, offset, slot, slot.struct, slot.ops))
            offset += tier.slots * slot.dtype.itemsize
        return tuple(built)

    @property
    def size(self) -> int:
        last = self.packed[-1]
        return last.offset + last.tier.slots * last.struct.size

    def change(self, seen: Seen, time_ms: int) -> bytes:
        """What the library merges: the size of a state, then of each tier the place of a slot, its ops and the slot."""
        return _OFFSET.pack(self.size) + b"".join(
            self._slot(packed, seen, time_ms) for packed in self.packed if _touches(packed.slot, seen.bits)
        )

    @staticmethod
    def _slot(packed: _Packed, seen: Seen, time_ms: int) -> bytes:
        tile = time_ms // packed.tier.tile_ms
        slot = packed.slot
        numbers = [_contribution(number, seen, time_ms) for number in (*slot.narrow, *slot.wide)]
        fresh = packed.struct.pack(tile, *numbers)
        offset = packed.offset + tile % packed.tier.slots * packed.struct.size
        return b"".join(
            (
                _OFFSET.pack(offset),
                bytes((len(packed.ops),)),
                packed.ops,
                struct.pack("<H", len(fresh)),
                fresh,
            )
        )

    def reader(self, cells: Sequence[Cell], ttl_ms: int) -> Ring:
        places = {window: i for i, window in enumerate(self.tiles)}
        columns = []
        for (feature, position), column, cell in zip(self.features, self.columns, cells, strict=True):
            names = self._names(feature, position, column)
            tier = places[column.window_ms or 0]
            columns.append(RingColumn(cell, str(feature.aggregation), tier, names))
        return Ring(tuple(packed.tier for packed in self.packed), tuple(columns), ttl_ms)

    def _names(self, feature: Feature, position: int, column: FeatureColumn) -> tuple[str, ...]:
        slot = self.slots[column.window_ms or 0]
        return tuple(slot.name(number) for number in self._numbers(feature, position))

    def meaning(self) -> list[Any]:
        return [
            self.inputs.predicates,
            self.inputs.fields,
            [[window, tile, self.slots[window].numbers] for window, tile in self.tiles.items()],
        ]


def _touches(slot: Slot, bits: int) -> bool:
    return any(bits >> number.predicate & 1 for number in slot.numbers)


def _contribution(number: Number, seen: Seen, time_ms: int) -> Any:
    """What one event makes of a number over nothing."""
    if not seen.bits >> number.predicate & 1:
        return _IDENTITY[number.op]
    if number.op == "count":
        return 1
    return time_ms if number.op == "time" else seen.fields[number.field or 0]
