# SPDX-License-Identifier: Apache-2.0
"""Candidates as a struct of arrays.

A candidate is a row number of the catalogue; a list of dicts would cost more than the models that score it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

Values = NDArray[Any]
Index = slice | NDArray[np.bool_] | NDArray[np.intp] | NDArray[np.int32] | NDArray[np.int64]

ABSENT = np.int32(2**31 - 1)
_NO_ROWS = np.empty(0, dtype=np.int32)
_FUSION = 60.0  # the constant of reciprocal rank fusion (Cormack, Clarke and Büttcher, SIGIR 2009)


@dataclass(frozen=True, slots=True)
class Recalled:
    """What one recall step found, best first.

    rows: int32 [n], rows of the catalogue; one that comes twice counts at its first place, and -1 (an item that the
    catalogue does not know) takes its place but forms no candidate.
    columns: the model's other outputs by their name, [n] each: float64, int64, bool, object of str, or int32 rows of
    the catalogue for outputs of type product (-1 where the catalogue does not know the key).
    """

    step: str
    bit: int
    rows: NDArray[np.int32]
    columns: Mapping[str, Values]

    @property
    def unknown(self) -> int:
        """How many items the catalogue does not know."""
        return int(np.count_nonzero(self.rows < 0))


@dataclass(frozen=True, slots=True)
class Candidates:
    """Distinct rows of the catalogue in order, best first, and where they come from.

    rows: int32 [n]. score: float64 [n]; before ranking the reciprocal rank fusion of the sources.
    sources: uint64 [n], one bit a recall step. columns: `<step>.<output>` [n], with the zero of its type (0, "",
    False, row -1) where that step did not find the candidate. positions: int32 [highest bit + 1, n], the place in
    each source, 1 for the best, ABSENT where it is not in it.
    """

    rows: NDArray[np.int32]
    score: NDArray[np.float64]
    sources: NDArray[np.uint64]
    columns: Mapping[str, Values]
    positions: NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.rows)

    @classmethod
    def merge(cls, found: Sequence[Recalled]) -> Candidates:
        """One set of distinct rows, ordered by reciprocal rank fusion; ties by best place, then by catalogue row."""
        sets = [_distinct(each) for each in found]
        if len(sets) == 1 and sets[0].ordered:
            return _alone(sets[0])
        rows = np.unique(np.concatenate([_NO_ROWS, *(each.rows for each in sets)]))
        places = [np.searchsorted(rows, each.rows) for each in sets]
        positions = _positions(sets, places, len(rows))
        score = _fused(positions)
        columns = {
            f"{each.step}.{name}": _spread(values, place, len(rows))
            for each, place in zip(sets, places, strict=True)
            for name, values in each.columns.items()
        }
        merged = cls(rows, score, _source_bits(positions), columns, positions)
        return merged.take(np.lexsort((positions.min(axis=0), -score)))

    def take(self, index: Index) -> Candidates:
        """The candidates of a boolean mask, of a slice, or in the order of integer places."""
        columns = {name: values[index] for name, values in self.columns.items()}
        return Candidates(
            self.rows[index], self.score[index], self.sources[index], columns, self.positions[:, index]
        )

    def ranked(self, score: NDArray[np.float64]) -> Candidates:
        """The candidates under new scores, float64 [n], highest first; ties keep their order."""
        return replace(self, score=score).take(np.argsort(-score, kind="stable"))

    def followed_by(self, other: Candidates) -> Candidates:
        """These, then the candidates of `other` that are not among them, in their order."""
        other = other.take(~np.isin(other.rows, self.rows))
        names = dict.fromkeys([*self.columns, *other.columns])
        columns = {name: _joined(self, other, name) for name in names}
        height = max(len(self.positions), len(other.positions))
        positions = np.concatenate([_padded(each.positions, height) for each in (self, other)], axis=1)
        return Candidates(
            np.concatenate([self.rows, other.rows]),
            np.concatenate([self.score, other.score]),
            np.concatenate([self.sources, other.sources]),
            columns,
            positions,
        )

    def best_source(self) -> NDArray[np.intp]:
        """The bit [n] of the recall step that placed each candidate best; the earlier step on a tie."""
        best: NDArray[np.intp] = np.argmin(self.positions, axis=0)
        return best


@dataclass(frozen=True, slots=True)
class _Found:
    """A recalled set without repetitions and unknown rows, and the position of each row."""

    step: str
    bit: int
    rows: NDArray[np.int32]
    position: NDArray[np.int32]
    columns: Mapping[str, Values]
    ordered: bool = False


def _distinct(found: Recalled) -> _Found:
    known = found.rows.tolist()
    if len(set(known)) == len(known) and -1 not in known:
        # What models give as a rule; sorting to find that out would cost as much as the whole merge.
        position = np.arange(1, len(known) + 1, dtype=np.int32)
        return _Found(found.step, found.bit, found.rows, position, found.columns, ordered=True)
    rows, first = np.unique(found.rows, return_index=True)
    if len(rows) and rows[0] < 0:
        rows, first = rows[1:], first[1:]
    columns = {name: values[first] for name, values in found.columns.items()}
    return _Found(found.step, found.bit, rows, (first + 1).astype(np.int32), columns)


def _alone(found: _Found) -> Candidates:
    """One source without repetitions is in its order already."""
    size = len(found.rows)
    positions = np.full((found.bit + 1, size), ABSENT, dtype=np.int32)
    positions[found.bit] = found.position
    score = 1.0 / (_FUSION + found.position.astype(np.float64))
    return Candidates(
        found.rows,
        score,
        np.full(size, 1 << found.bit, dtype=np.uint64),
        {f"{found.step}.{name}": values for name, values in found.columns.items()},
        positions,
    )


def _positions(sets: Sequence[_Found], places: Sequence[NDArray[np.intp]], size: int) -> NDArray[np.int32]:
    height = max((each.bit for each in sets), default=0) + 1
    positions = np.full((height, size), ABSENT, dtype=np.int32)
    for each, place in zip(sets, places, strict=True):
        positions[each.bit, place] = each.position
    return positions


def _fused(positions: NDArray[np.int32]) -> NDArray[np.float64]:
    terms: NDArray[np.float64] = np.where(positions == ABSENT, 0.0, 1.0 / (_FUSION + positions))
    fused: NDArray[np.float64] = terms.sum(axis=0)
    return fused


def _source_bits(positions: NDArray[np.int32]) -> NDArray[np.uint64]:
    bits = np.uint64(1) << np.arange(len(positions), dtype=np.uint64)
    present: NDArray[np.uint64] = np.where(positions == ABSENT, np.uint64(0), bits[:, None])
    joined: NDArray[np.uint64] = present.sum(axis=0, dtype=np.uint64)
    return joined


def _zero(dtype: np.dtype[Any]) -> object:
    """What stands where a source knows nothing: row -1 for products, which are the int32 columns."""
    if dtype == np.int32:
        return -1
    return "" if dtype.kind == "O" else dtype.type(0)


def _blank(dtype: np.dtype[Any], size: int) -> Values:
    return np.full(size, _zero(dtype), dtype=dtype)


def _spread(values: Values, place: NDArray[np.intp], size: int) -> Values:
    spread = _blank(values.dtype, size)
    spread[place] = values
    return spread


def _joined(first: Candidates, second: Candidates, name: str) -> Values:
    dtype = (first if name in first.columns else second).columns[name].dtype
    return np.concatenate(
        [each.columns.get(name, _blank(dtype, len(each))) for each in (first, second)], dtype=dtype
    )


def _padded(positions: NDArray[np.int32], height: int) -> NDArray[np.int32]:
    missing = np.full((height - len(positions), positions.shape[1]), ABSENT, dtype=np.int32)
    return np.concatenate([positions, missing])


NOBODY = Candidates.merge([])
