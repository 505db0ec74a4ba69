# SPDX-License-Identifier: Apache-2.0
"""What every step gets around it: each takes a step and returns one, chosen once when the graph is compiled."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from time import monotonic

from endcap_runtime.graph.failures import StepFailed
from endcap_runtime.graph.metrics import StepMetrics
from endcap_runtime.graph.query import Note, Query, Step
from endcap_runtime.graph.upstream import Call


@dataclass(frozen=True, slots=True)
class _Wrapped:
    step: Step

    @property
    def name(self) -> str:
        return self.step.name


@dataclass(frozen=True, slots=True)
class deadline(_Wrapped):  # noqa: N801 (used as a function from step to step)
    """Gives the step `seconds` at most, and never more than what is left of the request's own deadline.

    The time is passed on rather than enforced here: the calls that a step waits for end by it, and the model is told.
    """

    seconds: float

    async def __call__(self, query: Query) -> Query:
        own = monotonic() + self.seconds
        return await (self.step(query) if own >= query.call.deadline else _until(own, self.step, query))


@dataclass(frozen=True, slots=True)
class leaving(_Wrapped):  # noqa: N801
    """Gives the step half of the time that is left, so that who stands in for it when it fails has the other half."""

    async def __call__(self, query: Query) -> Query:
        return await _until((monotonic() + query.call.deadline) / 2, self.step, query)


async def _until(own: float, step: Step, query: Query) -> Query:
    call = query.call
    done = await step(query.within(Call(own, call.request_id, call.traceparent)))
    done.call = call
    return done


@dataclass(frozen=True, slots=True)
class needing(_Wrapped):  # noqa: N801
    """Fails the step when a recall step whose columns it reads did not answer: its rule would be about zeros."""

    recalls: Sequence[str]

    async def __call__(self, query: Query) -> Query:
        for name in self.recalls:
            if name not in query.recalled:
                raise StepFailed(self.name, "unavailable", f"reads {name}, which did not answer")
        return await self.step(query)


@dataclass(frozen=True, slots=True)
class timed(_Wrapped):  # noqa: N801
    """Notes how long the step took and whether it failed, for the metrics and for the answer."""

    metrics: StepMetrics

    async def __call__(self, query: Query) -> Query:
        note = query.notes[self.step.name] = Note()
        start = monotonic()
        try:
            return await self.step(query)
        except StepFailed as failed:
            note.failure, note.kind = failed.reason, failed.kind
            self.metrics.failed(failed.kind)
            raise
        finally:
            seconds = monotonic() - start
            note.ms = seconds * 1000
            self.metrics.seconds.observe(seconds)


@dataclass(frozen=True, slots=True)
class fail_open(_Wrapped):  # noqa: N801
    """A failure leaves the request as it was: `skip` of any step, `keepOrder` of a rank. `timed` has noted it."""

    async def __call__(self, query: Query) -> Query:
        try:
            return await self.step(query)
        except StepFailed:
            return query
