# SPDX-License-Identifier: Apache-2.0
"""One request on its way through the steps.

What steps add is keyed by the step, so steps that run together share it without a merge; candidates go from one
step to the next.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from endcap_runtime.graph.candidates import Candidates, Recalled
from endcap_runtime.graph.catalogue import Catalogue
from endcap_runtime.graph.experiments.assigned import NOT_IN_ANY, Assignments
from endcap_runtime.graph.expressions import Scope
from endcap_runtime.graph.failures import Kind
from endcap_runtime.graph.looked_up import LookedUp
from endcap_runtime.graph.upstream import Call


@dataclass(slots=True)
class Note:
    """What a step did: what `degraded`, `served_by`, `explain` and the metrics tell of it.

    `removed` are catalogue rows, kept only when the request asks for an explanation; `backfilled` are how many of
    `kept` the step put back or took from the fallback; `unknown_items` are those of a model that the catalogue does not
    know, beside `kept`; `ms` is wall time; `overlaid` is the query as it came to the step and as the baseline left it,
    kept for a shadow.
    """

    candidates_in: int | None = None
    kept: int | None = None
    backfilled: int | None = None
    unknown_items: int | None = None
    removed: list[int] | None = None
    ms: float = 0.0
    model: str | None = None
    failure: str | None = None
    kind: Kind | None = None
    overlaid: tuple[Query, Query] | None = None


@dataclass(slots=True)
class Query:
    """values: request fields, and outputs of model and features steps by dotted name (products by display name).
    keys: the product fields among them as the keys that models know.
    looked_up: what features steps found, by step; one that was asked again for candidates of the fallback has more.
    candidates: what is left, best first. whole: what there was before the first limit, for back-fill.
    assignments: what each experiment said of it, decided before the first step.
    """

    values: dict[str, object]
    keys: Mapping[str, object]
    catalogue: Catalogue
    call: Call
    explain: bool = False
    recalled: dict[str, Recalled] = field(default_factory=dict)
    notes: dict[str, Note] = field(default_factory=dict)
    looked_up: dict[str, list[LookedUp]] = field(default_factory=dict)
    candidates: Candidates | None = None
    whole: Candidates | None = None
    assignments: Assignments = field(default_factory=lambda: NOT_IN_ANY)

    @property
    def scope(self) -> Scope:
        """What an expression can read now."""
        return Scope(self.values, self.catalogue, self.candidates, self.call.deadline)

    def within(self, call: Call) -> Query:
        """The same request under another deadline; what steps add is shared."""
        return self._with(call, self.candidates)

    def of(self, candidates: Candidates) -> Query:
        """The same request with other candidates."""
        return self._with(self.call, candidates)

    def apart(self, call: Call) -> Query:
        """The same request under another deadline, sharing nothing that a step changes."""
        aside = self._with(call, self.candidates)
        aside.values, aside.recalled = dict(self.values), dict(self.recalled)
        aside.notes, aside.looked_up = {}, dict(self.looked_up)
        return aside

    def _with(self, call: Call, candidates: Candidates | None) -> Query:
        # Spelt out, since `dataclasses.replace` costs ten times as much and this runs for each step.
        return Query(
            self.values,
            self.keys,
            self.catalogue,
            call,
            self.explain,
            self.recalled,
            self.notes,
            self.looked_up,
            candidates,
            self.whole,
            self.assignments,
        )


class Step(Protocol):
    """An async callable from query to query; wrappers take one and return one.

    `name` is the label in answers, metrics and logs. Raises StepFailed and nothing else.
    """

    @property
    def name(self) -> str: ...

    async def __call__(self, query: Query) -> Query: ...
