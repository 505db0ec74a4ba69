# SPDX-License-Identifier: Apache-2.0
"""Storage `events`: how an event becomes a record of a log."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from endcap_api.feature_columns import FeatureColumn
from endcap_api.v1alpha1.featureview import Feature
from endcap_runtime.features.layout.inputs import Inputs, Seen
from endcap_runtime.features.windows import Cell, EventLog, LogColumn
from endcap_runtime.features.windows.header import SIZE

MAX_EVENTS = 256
TOP_ITEMS = 16
_BITS = ((8, "B", "u1"), (16, "H", "<u2"), (32, "I", "<u4"), (64, "Q", "<u8"))
_CHANGE = struct.Struct("<HHq")


@dataclass(frozen=True)
class LogPacking:
    """A record: time in ms, numbers of 64 bits, a bit for each predicate, texts filled up with NUL."""

    inputs: Inputs
    cap: int
    longest_ms: int

    @cached_property
    def numbers(self) -> list[int]:
        """Positions of the fields that are numbers."""
        return [i for i, field in enumerate(self.inputs.fields) if field.kind != "text"]

    @cached_property
    def texts(self) -> list[int]:
        return [i for i, field in enumerate(self.inputs.fields) if field.kind == "text"]

    @cached_property
    def _bits(self) -> tuple[int, str, str]:
        return next(bits for bits in _BITS if bits[0] >= len(self.inputs.predicates))

    @cached_property
    def record(self) -> np.dtype[Any]:
        texts = [(f"text{i}", f"S{self.inputs.fields[i].size}") for i in self.texts]
        return np.dtype(
            [("time", "<i8"), ("numbers", "<i8", (len(self.numbers),)), ("bits", self._bits[2]), *texts]
        )

    @cached_property
    def _struct(self) -> struct.Struct:
        texts = "".join(f"{self.inputs.fields[i].size}s" for i in self.texts)
        return struct.Struct(f"<q{len(self.numbers)}q{self._bits[1]}{texts}")

    @property
    def size(self) -> int:
        return SIZE + self.cap * self.record.itemsize

    def change(self, seen: Seen, time_ms: int) -> bytes:
        """What the library appends: size, most records, longest window in ms, the record."""
        numbers = [seen.fields[i] or 0 for i in self.numbers]
        texts = [seen.fields[i] or b"" for i in self.texts]
        record = self._struct.pack(time_ms, *numbers, seen.bits, *texts)
        return _CHANGE.pack(len(record), self.cap, self.longest_ms) + record

    def reader(
        self, features: Sequence[tuple[Feature, int]], columns: Sequence[FeatureColumn], cells: Sequence[Cell],
        ttl_ms: int,
    ) -> EventLog:  # fmt: skip
        """`features`: for each column its feature, and the feature's position in the view."""
        built = [
            self._column(feature, position, column, cell)
            for (feature, position), column, cell in zip(features, columns, cells, strict=True)
        ]
        return EventLog(self.record, tuple(built), ttl_ms)

    def _column(self, feature: Feature, position: int, column: FeatureColumn, cell: Cell) -> LogColumn:
        predicate, field = self.inputs.of[position]
        text = feature.aggregation == "last" and feature.type == "string"
        return LogColumn(
            cell=cell,
            op="last_text" if text else str(feature.aggregation),
            window_ms=column.window_ms or 0,
            predicate=1 << predicate,
            field=None if field is None else self._place(field),
            limit=feature.max_items or TOP_ITEMS,
            items=column.items,
        )

    def _place(self, field: int) -> int | str:
        return self.numbers.index(field) if field in self.numbers else f"text{field}"

    def meaning(self) -> list[Any]:
        """What the packing, and what is kept, depend on; a field is kept of the events for which it is read."""
        read = sorted({(bit, field) for bit, field in self.inputs.of if field is not None})
        return [self.inputs.predicates, self.inputs.fields, read, self.cap, self.longest_ms]
