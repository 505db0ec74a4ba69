# SPDX-License-Identifier: Apache-2.0
"""What one revision of a graph asks beside its answers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from endcap_api.runtime_config import GraphConfig
from endcap_api.v1alpha1.base import milliseconds
from endcap_api.v1alpha1.steps import Step as StepSpec
from endcap_runtime.graph.experiments.experiment import Experiment, Experiments
from endcap_runtime.graph.query import Query, Step
from endcap_runtime.graph.shadow.agreement import Compare, compare_of


@dataclass(frozen=True, slots=True)
class Shadowed:
    """One experiment of mode shadow.

    step: that it is about. variants: the others than the baseline. seconds: the longest that one may take.
    """

    identity: str
    step: str
    variants: Mapping[str, Step]
    compare: Compare
    seconds: float


@dataclass(frozen=True, slots=True)
class ShadowForm:
    """By name of the experiment."""

    graph: str
    experiments: Mapping[str, Shadowed]

    def asked(self, query: Query) -> Iterator[tuple[str, Shadowed]]:
        """What a request that was answered is to be compared in."""
        for name, shadowed in self.experiments.items():
            assigned, note = query.assignments.get(name), query.notes.get(shadowed.step)
            if assigned is not None and assigned.reason == "shadowed" and note is not None and note.overlaid:
                yield name, shadowed


def shadow_form(config: GraphConfig, experiments: Experiments | None) -> ShadowForm:
    specs = {step.name: step for step in config.spec.steps}
    shadows = {
        name: each
        for name, each in (experiments.by_name if experiments else {}).items()
        if each.config.mode == "shadow"
    }
    return ShadowForm(
        config.name,
        {name: _shadowed(config, each, specs[each.config.step]) for name, each in shadows.items()},
    )


def _shadowed(config: GraphConfig, experiment: Experiment, spec: StepSpec) -> Shadowed:
    return Shadowed(
        identity=experiment.config.id,
        step=spec.name,
        variants=experiment.steps,
        compare=compare_of(config, spec),
        seconds=milliseconds(spec.timeout or config.spec.deadline) / 1000,
    )
