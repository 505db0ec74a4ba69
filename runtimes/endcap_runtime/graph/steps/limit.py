# SPDX-License-Identifier: Apache-2.0
"""Keeps variety: at most so many candidates of a kind, best first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from endcap_runtime.graph.expressions import Expression
from endcap_runtime.graph.query import Query
from endcap_runtime.graph.steps.expression import Reading


@dataclass(frozen=True, slots=True)
class LimitStep:
    """Keeps the first `most` candidates of each value of `per`; what was there before stays for back-fill."""

    name: str
    per: Expression
    most: int

    async def __call__(self, query: Query) -> Query:
        candidates = query.candidates
        if not candidates:
            return query
        with Reading(self.name):
            kinds = self.per(query.scope)
        if not self.per.per_candidate:
            kinds = np.full(len(candidates), kinds)
        keep = first_of_each(kinds.tolist(), self.most)
        note = query.notes[self.name]
        note.candidates_in, note.kept = len(candidates), len(keep)
        if query.explain:
            note.removed = np.delete(candidates.rows, keep).tolist()
        limited = query.of(candidates.take(keep))
        limited.whole = query.whole or candidates
        return limited


def first_of_each(kinds: Sequence[Any], most: int) -> NDArray[np.intp]:
    """Places of the first `most` of each kind, in order."""
    seen: dict[Any, int] = {}
    keep = []
    for place, kind in enumerate(kinds):
        count = seen.get(kind, 0)
        if count < most:
            seen[kind] = count + 1
            keep.append(place)
    return np.array(keep, dtype=np.intp)
