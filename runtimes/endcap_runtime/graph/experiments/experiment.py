# SPDX-License-Identifier: Apache-2.0
"""The experiments of a graph, compiled: a request is assigned once, before its first step."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from endcap_api.assigner import DECIDED, Assigner, Decided, Reason, Unit, unit_of
from endcap_api.experiment_config import ExperimentConfig
from endcap_runtime.graph.experiments.assigned import Assigned
from endcap_runtime.graph.expressions import Expression, ExpressionFailed, Scope, Unavailable
from endcap_runtime.graph.query import Step

# Who does a step that several experiments are on: a person's word before chance, and chance before what has ended.
_PRECEDENCE: Sequence[Reason] = ("forced", "listed", "assigned", "promoted")

Values = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Experiment:
    """One experiment.

    fields: of the request that name the unit: in expressions, and in the request. baseline: its name. targeting: None
    targets everyone. propensities: by variant. steps: of the variants but the baseline, each alone.
    """

    name: str
    config: ExperimentConfig
    assigner: Assigner
    fields: Sequence[tuple[str, str]]
    baseline: str
    targeting: Expression | None
    propensities: Mapping[str, float]
    steps: Mapping[str, Step]

    def assigned(self, values: Values, given: Collection[str], forced: str | None) -> Assigned:
        """`given` are the fields that the request has; what is not given is no unit, whatever its default."""
        unit = unit_of(self.config.unit, {name: values[at] for at, name in self.fields if name in given})
        variant, reason, bucket = self._decided(unit, values, forced)
        text, kind = unit or (None, None)
        propensity = self.propensities[variant] if reason == "assigned" else 1.0
        does = reason in DECIDED
        return Assigned(
            self.name, self.config, self.baseline, variant, reason, text, kind, bucket, propensity, does
        )

    def _decided(self, unit: Unit | None, values: Values, forced: str | None) -> Decided:
        if self.targeting is None:
            return self.assigner.decide(unit, forced=forced)
        return self.assigner.decide(unit, forced=forced, targeted=partial(self._targeted, values))

    def _targeted(self, values: Values) -> bool:
        """A condition that has no value for a request does not hold for it."""
        assert self.targeting is not None  # noqa: S101 (the caller asked)
        try:
            return self.targeting(Scope(values)) is True
        except (ExpressionFailed, Unavailable):
            return False


@dataclass(frozen=True, slots=True)
class Experiments:
    """contested: the experiments on each step that has several."""

    by_name: Mapping[str, Experiment]
    contested: Sequence[Sequence[str]]

    @property
    def variants(self) -> Mapping[str, Sequence[str]]:
        """Names of variants by experiment."""
        return {
            name: [variant.name for variant in each.config.variants] for name, each in self.by_name.items()
        }

    @property
    def revisions(self) -> Mapping[str, int]:
        """By experiment, as they are served."""
        return {name: each.config.revision for name, each in self.by_name.items()}

    def assign(
        self, values: Values, given: Collection[str], forced: Mapping[str, str]
    ) -> dict[str, Assigned]:
        """What each says of a request: `values` are its fields as expressions read them."""
        found = {name: each.assigned(values, given, forced.get(name)) for name, each in self.by_name.items()}
        for names in self.contested:
            _settle([found[name] for name in names])
        return found


def _settle(ours: Iterable[Assigned]) -> None:
    """One does the step: that another did means for the rest that it lies in another layer."""
    rivals = sorted((each for each in ours if each.does), key=_precedence)
    for each in rivals[1:]:
        each.variant, each.reason, each.does = each.baseline, "other_layer", False
        each.propensity = 1.0


def _precedence(assigned: Assigned) -> tuple[int, str]:
    return _PRECEDENCE.index(assigned.reason), assigned.name
