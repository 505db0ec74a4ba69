# SPDX-License-Identifier: Apache-2.0
"""A step that has variants: who does it is already decided, and when a variant cannot, the baseline does."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from time import monotonic
from typing import get_args

from endcap_runtime.graph.experiments.assigned import Assigned
from endcap_runtime.graph.experiments.breaker import FAILURES, Breaker
from endcap_runtime.graph.failures import StepFailed
from endcap_runtime.graph.query import Query, Step
from endcap_runtime.graph.upstream.failures import Kind

log = logging.getLogger("endcap.graph")

_OPEN = f"it failed {FAILURES} times in a row and is left alone for a second"
# What says that a model is down; an expression without a value says something of the request alone.
_DOWN = frozenset(get_args(Kind))


@dataclass(frozen=True, slots=True)
class Variant:
    """One way to do a step other than the baseline's; `breaker` is its own."""

    step: Step
    breaker: Breaker = field(default_factory=Breaker)

    async def tried(self, query: Query, assigned: Assigned) -> Query | None:
        """None where it failed, which is told on what was assigned; the query is then as it was."""
        if not self.breaker.lets(monotonic()):
            assigned.failure = _OPEN
            return None
        try:
            done = await self.step(query)
        except StepFailed as failed:
            assigned.failure = failed.reason
            if failed.kind in _DOWN and self.breaker.failed(monotonic()):
                told = {"experiment": assigned.name, "variant": assigned.variant, "detail": failed.reason}
                log.warning("A variant fails again and again: the baseline serves", extra=told)
            return None
        self.breaker.worked()
        return done


@dataclass(frozen=True, slots=True)
class VariedStep:
    """The step of a graph in whichever variant the request is assigned to.

    baseline: the step as the graph has it. variants: the others, by experiment and name. experiments: those on this
    step. shadowed: whether one of them only watches.
    """

    name: str
    baseline: Step
    variants: Mapping[tuple[str, str], Variant]
    experiments: Sequence[str]
    shadowed: bool = False

    async def __call__(self, query: Query) -> Query:
        ours = [query.assignments[name] for name in self.experiments if name in query.assignments]
        for does in ours:
            if does.does and (variant := self.variants.get((does.name, does.variant))) is not None:
                done = await variant.tried(query, does)
                if done is not None:
                    _say(ours, does)
                    return done
        return await self._as_it_is(query, ours)

    async def _as_it_is(self, query: Query, ours: Sequence[Assigned]) -> Query:
        try:
            done = await self.baseline(query)
        except StepFailed as failed:
            for each in ours:
                each.failure = each.failure or failed.reason
            raise
        _say(ours)
        if self.shadowed:
            query.notes[self.name].overlaid = query, done
        return done


def _say(ours: Sequence[Assigned], served: Assigned | None = None) -> None:
    """Who gave the result. For an experiment that did not do the step that is its baseline, the step without it."""
    for each in ours:
        each.served = each.variant if each is served else each.baseline
