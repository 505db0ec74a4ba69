# SPDX-License-Identifier: Apache-2.0
"""What is known of a unit before it is treated: numbers of the request, for each metric that names one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from endcap_api.runtime_config import GraphConfig
from endcap_api.wiring import covariate_environment
from endcap_runtime.graph.expressions import Expression, ExpressionFailed, Scope, Unavailable
from endcap_runtime.graph.fusing import steps_read
from endcap_runtime.graph.query import Query
from endcap_runtime.graph.steps.expression import compiled

LARGEST = 1e12  # what a store takes: its square still adds up over all units


@dataclass(frozen=True, slots=True)
class Covariate:
    """Of one metric of one experiment; steps: those whose values it reads."""

    experiment: str
    metric: str
    expression: Expression
    steps: Sequence[str]

    @property
    def reads(self) -> frozenset[str]:
        return self.expression.reads

    def of(self, query: Query) -> float | None:
        """None where it has no value that a store can sum, or where a default would stand in for one."""
        if any(_stood_in(query, step) for step in self.steps):
            return None
        try:
            value = float(self.expression(Scope(query.values)))
        except (ExpressionFailed, Unavailable):
            return None
        return value if abs(value) <= LARGEST else None  # NaN is not


def _stood_in(query: Query, step: str) -> bool:
    note = query.notes.get(step)
    return note is None or (note.failure is not None and note.kind != "stale")


def covariates_of(config: GraphConfig) -> list[Covariate]:
    """Those of all experiments whose exposures are kept. Raises ExpressionError."""
    return list(_covariates(config))


def _covariates(config: GraphConfig) -> Iterator[Covariate]:
    known = covariate_environment(config.spec, config.models, config.bundles)
    steps = [step for step in config.spec.steps if step.model or step.features]
    for name, experiment in (config.experiments or {}).items():
        for metric, source in (experiment.covariates or {}).items() if experiment.exposures else ():
            expression = compiled(source, known)
            yield Covariate(name, metric, expression, steps_read(steps, expression.reads))


def values_of(covariates: Sequence[Covariate], query: Query) -> Mapping[str, float]:
    """By metric; what is not there counts as 0."""
    return {each.metric: value for each in covariates if (value := each.of(query)) is not None}
