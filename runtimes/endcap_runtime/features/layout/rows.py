# SPDX-License-Identifier: Apache-2.0
"""A row of a precomputed or derived view: values by name into bytes, each checked."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

import numpy as np

from endcap_api.feature_columns import FeatureColumn
from endcap_api.v1alpha1.featureview import Feature
from endcap_runtime.features.layout.faults import InvalidEvent, InvalidRow, kind_of
from endcap_runtime.features.layout.inputs import TEXT_BYTES, text_bytes
from endcap_runtime.features.windows import Cell, Row, RowColumn
from endcap_runtime.features.windows.header import ROW, packed

MOST_ITEMS = 16
_DTYPES = {"integer": "<i8", "number": "<f8", "boolean": "?"}
_INT64 = range(-(2**63), 2**63)


def version_hash(version: str | None) -> int:
    """63 bits of a model version that are never 0; 0 for none."""
    if version is None:
        return 0
    return (int.from_bytes(blake2b(version.encode(), digest_size=8).digest(), "little") >> 1) or 1


@dataclass(frozen=True)
class RowPacking:
    columns: tuple[FeatureColumn, ...]
    features: tuple[Feature, ...]
    row: Row

    @property
    def size(self) -> int:
        return self.row.dtype.itemsize

    def pack(self, values: Mapping[str, Any], at_ms: int, version: str | None) -> bytes:
        """`values` by column; one that is missing or None is unset. Raises InvalidRow."""
        names = [column.name for column in self.columns]
        for name in values:
            if name not in names:
                raise InvalidRow(
                    name[:64], f"unknown; the features are {', '.join(names)}: rename or remove it"
                )
        table = np.zeros(1, self.row.dtype)
        bits = 0
        for position, column in enumerate(self.columns):
            if (value := values.get(column.name)) is not None:
                bits |= 1 << position
                self._set(table, position, value)
        table["set"] = bits
        head = packed(ROW, at_ms, version_hash(version))
        return head + table.tobytes()[len(head) :]

    def _set(self, table: Any, position: int, value: Any) -> None:
        column, longest = self.columns[position], self.features[position].max_length or TEXT_BYTES
        if column.items is None:
            table[f"c{position}"] = checked(column.name, column.type, value, longest)
            return
        elements = self._elements(column, position, value, longest)
        table[f"length{position}"] = len(elements)
        table[f"c{position}"][0, : len(elements)] = elements

    def _elements(self, column: FeatureColumn, position: int, value: Any, longest: int) -> list[Any]:
        most = self.row.columns[position].most
        if type(value) is not list:
            raise InvalidRow(column.name, f"expected an array, got {kind_of(value)}: send an array")
        if len(value) > most:
            raise InvalidRow(
                column.name, f"{len(value)} elements are more than {most}: send fewer, or raise maxItems"
            )
        return [
            checked(f"{column.name}[{i}]", str(column.items), element, longest)
            for i, element in enumerate(value)
        ]

    def meaning(self) -> list[Any]:
        return [
            [column.name, column.type, column.items, built.dtype.str, built.most]
            for column, built in zip(self.columns, self.row.columns, strict=True)
        ]


def row_packing(
    columns: Sequence[FeatureColumn], features: Sequence[Feature], cells: Sequence[Cell], ttl_ms: int,
    version: str | None,
) -> RowPacking:  # fmt: skip
    built = [
        RowColumn(
            cell, _dtype(feature), column.items, (feature.max_items or MOST_ITEMS) if column.items else 0
        )
        for feature, column, cell in zip(features, columns, cells, strict=True)
    ]
    return RowPacking(tuple(columns), tuple(features), Row(tuple(built), ttl_ms, version_hash(version)))


def _dtype(feature: Feature) -> np.dtype[Any]:
    kind = feature.items.type if feature.items else feature.type
    return np.dtype(_DTYPES.get(kind) or f"S{feature.max_length or TEXT_BYTES}")


def checked(name: str, kind: str, value: Any, longest: int) -> Any:
    """A value of that type as it is packed; raises InvalidRow."""
    if kind == "string":
        return _text(name, value, longest)
    if kind == "boolean":
        if type(value) is not bool:
            raise InvalidRow(name, f"expected true or false, got {kind_of(value)}: send true or false")
        return value
    if kind == "integer":
        return _integer(name, value)
    return _float(name, value)


def _float(name: str, value: Any) -> float:
    number = float(value) if type(value) is float or (type(value) is int and value in _INT64) else math.nan
    if not math.isfinite(number):
        given = "one of more than 64 bits" if type(value) is int else kind_of(value)
        raise InvalidRow(name, f"expected a finite number, got {given}: send a number")
    return number


def _text(name: str, value: Any, longest: int) -> bytes:
    try:
        return text_bytes(name, value, longest)
    except InvalidEvent as wrong:
        raise InvalidRow(wrong.field, wrong.message) from None


def _integer(name: str, value: Any) -> int:
    whole = int(value) if type(value) is float and value.is_integer() else value
    if type(whole) is not int or whole not in _INT64:
        given = "a larger one" if type(whole) is int else kind_of(value)
        raise InvalidRow(name, f"expected a whole number of 64 bits, got {given}: send a whole number")
    return whole
