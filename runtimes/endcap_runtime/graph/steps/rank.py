# SPDX-License-Identifier: Apache-2.0
"""Orders the candidates, highest score first; ties keep the order so far."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from endcap_api.wiring import SCORE
from endcap_runtime.graph.expressions import Expression
from endcap_runtime.graph.failures import StepFailed
from endcap_runtime.graph.query import Query
from endcap_runtime.graph.steps.calls import CalledModel
from endcap_runtime.graph.steps.expression import Reading
from endcap_runtime.graph.steps.inputs import Inputs

Scores = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class RankByModel:
    """Scores every candidate in one call; a row of the call is a candidate."""

    name: str
    called: CalledModel
    inputs: Inputs

    async def __call__(self, query: Query) -> Query:
        candidates = query.candidates
        if not candidates:
            return query
        with Reading(self.name):
            columns = self.inputs.each(query, query.scope, len(candidates))
        prediction = await self.called.predict(columns, len(candidates), query)
        note = query.notes[self.name]
        note.model, note.candidates_in, note.kept = prediction.model, len(candidates), len(candidates)
        return query.of(candidates.ranked(prediction.columns[SCORE]))


@dataclass(frozen=True, slots=True)
class RankByExpression:
    """Scores by a CEL number; one that is not finite for some candidate fails the step."""

    name: str
    by: Expression

    async def __call__(self, query: Query) -> Query:
        candidates = query.candidates
        if not candidates:
            return query
        with Reading(self.name):
            score = np.broadcast_to(np.asarray(self.by(query.scope), np.float64), len(candidates))
        if not np.isfinite(score).all():
            raise StepFailed(self.name, "expression", f"{self.by.source} is not finite for some candidate")
        note = query.notes[self.name]
        note.candidates_in = note.kept = len(candidates)
        return query.of(candidates.ranked(score))
