# SPDX-License-Identifier: Apache-2.0
"""One set of distinct candidates from what all recall steps found."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from endcap_runtime.graph.candidates import Candidates
from endcap_runtime.graph.failures import StepFailed
from endcap_runtime.graph.query import Query

MERGE = "merge"


@dataclass(frozen=True, slots=True)
class MergeStep:
    """`recalls` in declared order: earlier ones win ties. Raises StepFailed when there is no candidate at all,
    also when the catalogue knows none of the items that were found.
    """

    recalls: Sequence[str]
    name: str = MERGE

    async def __call__(self, query: Query) -> Query:
        answered = [name for name in self.recalls if name in query.recalled]
        found = sum(query.notes[name].kept or 0 for name in answered)
        if not found:
            raise StepFailed(self.name, "empty", "no recall step found a candidate")
        merged = Candidates.merge([query.recalled[name] for name in answered])
        note = query.notes[self.name]
        note.candidates_in, note.kept = found, len(merged)
        return query.of(merged)
