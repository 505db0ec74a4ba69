# SPDX-License-Identifier: Apache-2.0
"""A graph as it would be with a variant in place of a step: what the variant is built, typed and checked in."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from endcap_api.experiment_config import VariantConfig, overlaid
from endcap_api.runtime_config import GraphConfig
from endcap_api.v1alpha1.steps import Step
from endcap_runtime.graph.failures import InvalidSpec


class Overlay(NamedTuple):
    """`config` is the whole graph without experiments, in which `step` is the variant's."""

    experiment: str
    variant: str
    step: Step
    config: GraphConfig

    @property
    def key(self) -> tuple[str, str]:
        return self.experiment, self.variant


def overlays(config: GraphConfig, step: Step) -> Iterator[Overlay]:
    """Every variant of a step but the baselines. Raises InvalidSpec for one that the step cannot be done in."""
    for name, experiment in (config.experiments or {}).items():
        if experiment.step == step.name:
            for variant in experiment.variants:
                if not variant.baseline:
                    yield _overlay(config, step, name, variant)


def _overlay(config: GraphConfig, step: Step, name: str, variant: VariantConfig) -> Overlay:
    try:
        changed = overlaid(step, variant)
    except ValueError as error:
        raise InvalidSpec(f"experiment {name}, variant {variant.name}: {error}") from None
    steps = [changed if each.name == step.name else each for each in config.spec.steps]
    spec = config.spec.model_copy(update={"steps": steps})
    whole = config.model_copy(update={"spec": spec, "experiments": None})
    return Overlay(name, variant.name, changed, whole)
