# SPDX-License-Identifier: Apache-2.0
"""From the configuration of a graph's experiments to what is asked of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from endcap_api.assigner import Assigner
from endcap_api.experiment_config import ExperimentConfig
from endcap_api.expressions import Environment
from endcap_api.runtime_config import GraphConfig
from endcap_api.wiring import request_environment
from endcap_runtime.graph.building import Built
from endcap_runtime.graph.experiments.experiment import Experiment, Experiments
from endcap_runtime.graph.experiments.overlay import Variant, VariedStep
from endcap_runtime.graph.expressions import compile_expression
from endcap_runtime.graph.nodes import limited
from endcap_runtime.graph.wrappers import leaving

Variants = Mapping[tuple[str, str], Variant]


def varied(config: GraphConfig, built: Built) -> Built:
    """The step as all that its experiments can make of it; as it is where there are none."""
    if not built.variants:
        return built
    variants = {key: _variant(config, key[0], each) for key, each in built.variants.items()}
    on_step = tuple(dict.fromkeys(name for name, _ in variants))
    shadowed = any(_watches(config, name) for name in on_step)
    step = VariedStep(built.spec.name, limited(config, built), variants, on_step, shadowed)
    return built._replace(step=step)


def _variant(config: GraphConfig, experiment: str, built: Built) -> Variant:
    """A step's timeout may be as long as the deadline: who stands in for the variant has half all the same."""
    step = limited(config, built)
    return Variant(step if _watches(config, experiment) else leaving(step))


def _watches(config: GraphConfig, experiment: str) -> bool:
    """Whether it serves nobody, and its variants are only asked beside the baseline."""
    return (config.experiments or {})[experiment].mode == "shadow"


def experiments_of(config: GraphConfig, built: Iterable[Built]) -> Experiments | None:
    """Of steps that are `varied`; None for a graph without any. Raises ExpressionError."""
    if not config.experiments:
        return None
    known = request_environment(config.spec)
    steps = [each.step for each in built if isinstance(each.step, VariedStep)]
    variants = {key: variant for step in steps for key, variant in step.variants.items()}
    by_name = {name: _experiment(name, each, variants, known) for name, each in config.experiments.items()}
    return Experiments(by_name, _contested(config.experiments))


def _experiment(name: str, config: ExperimentConfig, variants: Variants, known: Environment) -> Experiment:
    assigner = Assigner(config)
    return Experiment(
        name=name,
        config=config,
        assigner=assigner,
        fields=[(field, field.removeprefix("request.")) for field in config.unit],
        baseline=config.baseline.name,
        targeting=compile_expression(config.targeting, known, "bool") if config.targeting else None,
        propensities={variant.name: assigner.propensity(variant.name) for variant in config.variants},
        steps={variant: each.step for (experiment, variant), each in variants.items() if experiment == name},
    )


def _contested(experiments: Mapping[str, ExperimentConfig]) -> Sequence[Sequence[str]]:
    by_step: dict[str, list[str]] = {}
    for name, each in experiments.items():
        by_step.setdefault(each.step, []).append(name)
    return [names for names in by_step.values() if len(names) > 1]
