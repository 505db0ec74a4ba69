# SPDX-License-Identifier: Apache-2.0
"""Removes candidates by a rule, and says which."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from endcap_runtime.graph.candidates import Candidates
from endcap_runtime.graph.expressions import Expression, Scope
from endcap_runtime.graph.failures import StepFailed
from endcap_runtime.graph.query import Query
from endcap_runtime.graph.steps.expression import Reading


@dataclass(frozen=True, slots=True)
class FilterStep:
    """Keeps candidates for which `rule` is `wanted`: True for keep, False for drop.

    opens: whether a failure leaves the candidates as they are (onError: skip). recalls: steps whose columns it reads.
    """

    name: str
    rule: Expression
    wanted: bool
    opens: bool = False
    recalls: tuple[str, ...] = ()

    async def __call__(self, query: Query) -> Query:
        candidates = query.candidates
        if not candidates:
            return query
        keep = self._keep(query, candidates)
        note = query.notes[self.name]
        note.candidates_in, note.kept = len(candidates), int(np.count_nonzero(keep))
        if note.kept == note.candidates_in:
            return query
        if query.explain:
            note.removed = candidates.rows[~keep].tolist()
        return query.of(candidates.take(keep))

    def passing(self, query: Query, candidates: Candidates) -> Candidates:
        """The rule for candidates from elsewhere: the fallback, or what a limit had removed. Raises StepFailed."""
        try:
            return candidates.take(self._keep(query, candidates)) if candidates else candidates
        except StepFailed:
            if self.opens:
                return candidates
            raise

    def _keep(self, query: Query, candidates: Candidates) -> NDArray[np.bool_]:
        for name in self.recalls:
            if name not in query.recalled:
                raise StepFailed(self.name, "unavailable", f"reads {name}, which did not answer")
        with Reading(self.name):
            holds = self.rule(Scope(query.values, query.catalogue, candidates, query.call.deadline))
        if not self.rule.per_candidate:
            return np.full(len(candidates), holds is self.wanted)
        keep: NDArray[np.bool_] = holds if self.wanted else ~holds
        return keep
