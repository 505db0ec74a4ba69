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
Index = NDArray[np.bool_] | NDArray[np.intp] | NDArray[np.int32] | NDArray[np.int64]

ABSENT = np.int32(2**31 - 1)
_FUSION = 60.0  # the constant of reciprocal rank fusion (Cormack, Clarke and Büttcher, SIGIR 2009)


@dataclass(frozen=True, slots=True)
class Recalled:
    """What one recall step found, best first.

    rows: int32 [n], rows of the catalogue; a row that comes twice counts at its first place.
    columns: the model's other outputs by their name, [n] each: float64, int64, bool, object of str, or int32 rows of
    the catalogue for outputs of type product (-1 where the catalogue does not know the key).
    """

    step: str
    bit: int
    rows: NDArray[np.int32]
    columns: Mapping[str, Values]


@dataclass(frozen=True, slots=True)
class Candidates:
    """Distinct rows of the catalogue in order, best first, and where they come from.

    rows: int32 [n]. score: float64 [n]; before ranking the reciprocal rank fusion of the sources.
    sources: uint64 [n], one bit a recall step. columns: `<step>.<output>` [n], with the zero of its type (0, "",
    False, row -1) where that step did not find the candidate. positions: int32 [64 or fewer, n], the place in each source
    by its bit, ABSENT where it is not in it.
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
        """One set of distinct rows, ordered by reciprocal rank fusion; ties in the order of the steps."""
        raise NotImplementedError

    def take(self, index: Index) -> Candidates:
        """The candidates of a boolean mask, or in the order of integer places."""
        columns = {name: values[index] for name, values in self.columns.items()}
        return Candidates(
            self.rows[index], self.score[index], self.sources[index], columns, self.positions[:, index]
        )

    def ranked(self, score: NDArray[np.float64]) -> Candidates:
        """The candidates under new scores, float64 [n], highest first; ties keep their order."""
        return replace(self, score=score).take(np.argsort(-score, kind="stable"))

    def best_source(self) -> NDArray[np.intp]:
        """The bit [n] of the recall step that placed each candidate best; the earlier step on a tie."""
        return np.argmin(self.positions, axis=0)
