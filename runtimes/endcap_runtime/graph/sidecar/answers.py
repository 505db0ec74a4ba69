# SPDX-License-Identifier: Apache-2.0
"""The sidecar's binary answer. A column is decoded when it is first read: most of a bundle is only passed on.

What comes is checked against what was asked for, so that no step meets a missing column or one of another type.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import accumulate, pairwise
from typing import Any, NamedTuple

import numpy as np
import orjson
from numpy.typing import NDArray

from endcap_api.feature_columns import FeatureColumn
from endcap_runtime.features.statuses import Status
from endcap_runtime.graph.columns import objects
from endcap_runtime.graph.upstream.connection import Response
from endcap_runtime.wire.faults import Malformed
from endcap_runtime.wire.oip import LENGTH_HEADER, head_length
from endcap_runtime.wire.tensor_columns import DATATYPES, LENGTHS
from endcap_runtime.wire.tensors import from_binary

STATUSES = "statuses"
Values = NDArray[Any]


class _Piece(NamedTuple):
    """A tensor as it travelled."""

    datatype: str
    shape: tuple[int, ...]
    raw: memoryview


class Found:
    """What one lookup found for `rows` entities.

    statuses: uint8 [F, rows] in the order of the bundle. windows: the effective window of each column in ms, None where
    it has none. freshness_ms: the age of the oldest state behind it. late: STALE values are so because the store is
    behind its events, and not because it could not be asked.
    """

    def __init__(self, pieces: Mapping[str, _Piece], told: Mapping[str, Any], rows: int) -> None:
        self._pieces = pieces
        self._decoded: dict[str, Values] = {}
        self.rows = rows
        self.names = [name for name in pieces if name != STATUSES and not name.endswith(LENGTHS)]
        self.digest: str = told["digest"]
        self.freshness_ms: int = told["freshness_ms"]
        self.late: bool = told["late"]
        self.windows: Sequence[Sequence[int] | None] = told["windows"]
        self.statuses: NDArray[np.uint8] = self._tensor(STATUSES)

    def check(self, columns: Sequence[FeatureColumn]) -> None:
        """Raises Malformed unless it has each of the columns, of its type."""
        for column in columns:
            piece = self._pieces.get(column.name)
            if piece is None:
                raise Malformed(f"column {column.name} is missing")
            if piece.datatype != DATATYPES[column.items or column.type] or piece.shape[0] < self._least(
                column
            ):
                raise Malformed(f"column {column.name} is not of type {column.type}")
            if (column.items is not None) != (column.name + LENGTHS in self._pieces):
                raise Malformed(f"column {column.name} is not of type {column.type}")

    def _least(self, column: FeatureColumn) -> int:
        return 0 if column.items is not None else self.rows

    def status(self, column: str) -> NDArray[np.uint8]:
        """The status [rows] of each value."""
        of_column: NDArray[np.uint8] = self.statuses[self.names.index(column)]
        return of_column

    def window(self, column: str) -> tuple[int, int] | None:
        """The effective window in ms."""
        window = self.windows[self.names.index(column)]
        return None if window is None else (window[0], window[1])

    def holds(self, status: Status) -> bool:
        return status in self.statuses.tobytes()  # a byte each

    def values(self, column: FeatureColumn) -> Values:
        """float64, int64, bool or object of str [rows]; of lists for an array. Raises Malformed."""
        found = self._decoded.get(column.name)
        if found is None:
            found = self._decoded[column.name] = self._values(column)
        return found

    def _values(self, column: FeatureColumn) -> Values:
        flat = self._tensor(column.name)
        if flat.dtype == object:
            flat = objects([each.decode() for each in flat.tolist()])
        if column.items is None:
            return flat
        counts = self._tensor(column.name + LENGTHS).tolist()
        return objects([flat[a:b].tolist() for a, b in pairwise(accumulate(counts, initial=0))])

    def _tensor(self, name: str) -> Values:
        piece = self._pieces[name]
        return from_binary(name, piece.datatype, piece.shape, piece.raw).data


def found_in(response: Response, rows: Sequence[int]) -> list[Found]:
    """The answers to as many lookups, of so many rows each. Raises Malformed."""
    try:
        pieces, told = _pieces(response, len(rows))
        found = [Found(each, told[str(i)], n) for i, (each, n) in enumerate(zip(pieces, rows, strict=True))]
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise Malformed(f"not the binary form of a lookup: {type(error).__name__} {error}") from error
    for each in found:
        if each.statuses.shape != (len(each.names), each.rows) or len(each.windows) != len(each.names):
            raise Malformed("its statuses or windows are not those of its columns")
    return found


def _pieces(response: Response, lookups: int) -> tuple[list[dict[str, _Piece]], dict[str, Any]]:
    body = memoryview(response.body)
    offset = head_length(response.headers.get(LENGTH_HEADER), response.body) or 0
    head = orjson.loads(body[:offset])
    pieces: list[dict[str, _Piece]] = [{} for _ in range(lookups)]
    for output in head["outputs"]:
        index, _, name = output["name"].partition(".")
        end = offset + output["parameters"]["binary_data_size"]
        pieces[int(index)][name] = _Piece(output["datatype"], tuple(output["shape"]), body[offset:end])
        offset = end
    if offset != len(body):
        raise Malformed("it has bytes that belong to no tensor")
    return pieces, head["parameters"]
