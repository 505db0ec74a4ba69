# SPDX-License-Identifier: Apache-2.0
"""Takes the first candidates for the answer, and fills up what is missing."""

from __future__ import annotations

from dataclasses import dataclass

from endcap_runtime.graph.candidates import NOBODY, Candidates
from endcap_runtime.graph.expressions import Expression, Scope
from endcap_runtime.graph.failures import StepFailed
from endcap_runtime.graph.fallback import Ladder, first
from endcap_runtime.graph.query import Query
from endcap_runtime.graph.steps.expression import Reading

MOST = 1000


@dataclass(frozen=True, slots=True)
class SelectStep:
    """Takes `count` candidates. With `backfill`, what limits removed comes next, then the fallback."""

    name: str
    count: Expression
    backfill: bool
    ladder: Ladder

    async def __call__(self, query: Query) -> Query:
        wanted = self.wanted(query)
        candidates = query.candidates or NOBODY
        chosen = first(candidates, wanted)
        note = query.notes[self.name]
        note.candidates_in = len(candidates)
        if self.backfill and len(chosen) < wanted:
            own = len(chosen)
            chosen = await self._filled(query, chosen, wanted)
            note.backfilled = len(chosen) - own
        note.kept = len(chosen)
        return query.of(chosen)

    def wanted(self, query: Query) -> int:
        """How many to answer with, 0 to MOST. Raises StepFailed, also for a negative count."""
        with Reading(self.name):
            count = int(self.count(Scope(query.values)))
        if count < 0:
            raise StepFailed(
                self.name, "expression", f"count is {count}: {self.count.source} is never below 0"
            )
        return min(count, MOST)

    async def _filled(self, query: Query, chosen: Candidates, wanted: int) -> Candidates:
        if query.whole:
            chosen = await self._put_back(query, chosen, query.whole)
        if len(chosen) < wanted:
            chosen = await self.ladder.fill(query, chosen, wanted)
        return first(chosen, wanted)

    async def _put_back(self, query: Query, chosen: Candidates, whole: Candidates) -> Candidates:
        """What limits removed, in order; filters that come after a limit have not seen it yet."""
        try:
            return chosen.followed_by(await self.ladder.passing(query, whole))
        except StepFailed as failed:
            query.notes[self.name].failure = f"no back-fill: {failed}"
            return chosen
