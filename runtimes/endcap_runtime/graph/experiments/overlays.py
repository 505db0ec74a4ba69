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
    """`config` is the whole graph without experiments, in which `step` is the variant's; `shadow` says that it is only
    asked beside the baseline.
    """

    experiment: str
    variant: str
    step: Step
    config: GraphConfig
    shadow: bool

    @property
    def key(self) -> tuple[str, str]:
        return self.experiment, self.variant

    @property
    def aside(self) -> str:
        """What follows the step's name in what is counted, so that a shadow does not pass for the step."""
        return f"/{self.variant}" if self.shadow else ""


def overlays(config: GraphConfig, step: Step) -> Iterator[Overlay]:
    """Every variant of a step but the baselines. Raises InvalidSpec for one that the step cannot be done in."""
    for name, experiment in (config.experiments or {}).items():
        if experiment.step == step.name:
            for variant in experiment.variants:
                if not variant.baseline:
                    whole, changed = _overlaid(config, step, name, variant)
                    yield Overlay(name, variant.name, changed, whole, experiment.mode == "shadow")


def _overlaid(config: GraphConfig, step: Step, name: str, variant: VariantConfig) -> tuple[GraphConfig, Step]:
    try:
        changed = overlaid(step, variant)
    except ValueError as error:
        raise InvalidSpec(f"experiment {name}, variant {variant.name}: {error}") from None
    steps = [changed if each.name == step.name else each for each in config.spec.steps]
    spec = config.spec.model_copy(update={"steps": steps})
    return config.model_copy(update={"spec": spec, "experiments": None}), changed
