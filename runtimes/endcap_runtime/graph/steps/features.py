# SPDX-License-Identifier: Apache-2.0
"""Asks the sidecar for what several features steps want, in one call."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from time import monotonic

from prometheus_client import Counter

from endcap_runtime.graph.candidates import NOBODY, Candidates
from endcap_runtime.graph.failures import StepFailed
from endcap_runtime.graph.query import Note, Query
from endcap_runtime.graph.sidecar import Found, Question, Sidecar
from endcap_runtime.graph.steps.lookup import AWAY, Asking, Lookup
from endcap_runtime.graph.upstream import Call, UpstreamFailed

_UNAVAILABLE = 503


@dataclass(frozen=True, slots=True)
class FeaturesStep:
    """`lookups` are asked for together, within the shortest of their times; `calls` counts by outcome."""

    name: str
    lookups: Sequence[Lookup]
    sidecar: Sidecar
    calls: Mapping[str, Counter]

    async def __call__(self, query: Query) -> Query:
        candidates = await self.complete(query, query.candidates or NOBODY)
        return query.of(candidates) if candidates else query

    async def complete(self, query: Query, candidates: Candidates) -> Candidates:
        """Looks up what has not been, for the request and for these candidates. Raises StepFailed."""
        asking = [Asking(each, query, candidates) for each in self.lookups if each.lacks(query, candidates)]
        start = monotonic()
        try:
            await self._ask(asking, query.call)
        finally:
            seconds = monotonic() - start
            for each in asking:
                query.notes.setdefault(each.lookup.name, Note()).ms += seconds * 1000
                each.lookup.metrics.seconds.observe(seconds)
        return _settled(asking, query, candidates)

    async def _ask(self, asking: Sequence[Asking], call: Call) -> None:
        questions = {each: each.question for each in asking if each.question is not None}
        if not questions:
            return
        start = monotonic()
        longest = min(each.lookup.seconds for each in questions)
        deadline = min(call.deadline, start + longest)
        try:
            await self._together(questions, Call(deadline, call.request_id, call.traceparent))
        except UpstreamFailed as failed:
            for each in questions:
                each.fail(failed.kind, _reason(failed, deadline - start))

    async def _together(self, questions: Mapping[Asking, Question], call: Call) -> None:
        """One that is refused may spoil the call for the others, which then go alone."""
        try:
            found = await self._counted(list(questions.values()), call)
        except UpstreamFailed as failed:
            if failed.kind != "status" or len(questions) == 1:
                raise
            await asyncio.gather(*(self._alone(each, question, call) for each, question in questions.items()))
        else:
            for each, what in zip(questions, found, strict=True):
                each.take(what)

    async def _alone(self, asking: Asking, question: Question, call: Call) -> None:
        start = monotonic()
        try:
            (found,) = await self._counted([question], call)
        except UpstreamFailed as failed:
            asking.fail(failed.kind, _reason(failed, call.deadline - start))
        else:
            asking.take(found)

    async def _counted(self, questions: Sequence[Question], call: Call) -> list[Found]:
        try:
            found = await self.sidecar.lookup(questions, call)
        except UpstreamFailed as failed:
            self.calls[failed.kind].inc()
            raise
        except asyncio.CancelledError:
            self.calls["cancelled"].inc()
            raise
        self.calls["ok"].inc()
        return found


def _settled(asking: Sequence[Asking], query: Query, candidates: Candidates) -> Candidates:
    """All that can be put is, before the first failure ends the step."""
    failures = []
    for each in asking:
        try:
            candidates = each.settle(query, candidates, query.notes[each.lookup.name])
        except StepFailed as failed:
            failures.append(failed)
    if failures:
        raise failures[0]
    return candidates


def _reason(failed: UpstreamFailed, seconds: float) -> str:
    if failed.status == _UNAVAILABLE:
        return AWAY
    if failed.kind != "timeout":
        return f"the feature sidecar {failed.message}"
    if seconds <= 0:
        return "no time was left"
    return f"the feature sidecar did not answer within {round(seconds * 1000)} ms"
