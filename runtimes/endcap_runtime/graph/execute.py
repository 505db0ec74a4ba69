# SPDX-License-Identifier: Apache-2.0
"""A request through a compiled graph: the steps, and below them the fallback."""

from __future__ import annotations

from endcap_runtime.graph.candidates import NOBODY
from endcap_runtime.graph.compile import Pipeline
from endcap_runtime.graph.dag import run
from endcap_runtime.graph.failures import StepFailed
from endcap_runtime.graph.query import Query


async def execute(pipeline: Pipeline, query: Query) -> Query:
    """The query with the candidates of the answer, never later than its deadline.

    Raises NoAnswer when a step that must not fail did, and no fallback could answer.
    """
    try:
        return await run(pipeline.nodes, query)
    except StepFailed as failed:
        if failed.kind == "empty":
            if query.recalled and not pipeline.config.spec.fallback:
                return query.of(NOBODY)
            _name_empty(query)
        return await pipeline.ladder.answer(query, pipeline.select.wanted)


def _name_empty(query: Query) -> None:
    """Recall steps that answered and found nothing are a reason why the fallback answers, so they are named.

    When another step found something, nothing found is a normal answer, as for a customer who is new.
    """
    for name in query.recalled:
        note = query.notes[name]
        unknown = f": the catalogue knows none of {note.unknown_items} items" if note.unknown_items else ""
        note.failure = f"found no candidates{unknown}"
