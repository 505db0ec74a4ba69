# SPDX-License-Identifier: Apache-2.0
"""The features steps of a graph as the calls that do them: what is asked together, and what of it is decoded."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from endcap_api.runtime_config import GraphConfig
from endcap_api.v1alpha1.base import milliseconds
from endcap_api.v1alpha1.steps import Step as StepSpec
from endcap_api.v1alpha1.values import RequestField
from endcap_api.wiring import environment, looks_up_candidates
from endcap_runtime.graph.building import NOTHING, Reads, Surroundings
from endcap_runtime.graph.fusing import Group, groups_of, steps_read
from endcap_runtime.graph.reads import Forming
from endcap_runtime.graph.steps.features import FeaturesStep
from endcap_runtime.graph.steps.inputs import Inputs, compile_keys
from endcap_runtime.graph.steps.lookup import Lookup

# Without a time of its own a lookup gets a part of the deadline: defaults that come at its end help nobody.
_PART, _LEAST_SECONDS = 10, 0.02


@dataclass(frozen=True, slots=True)
class Lookups:
    """The groups in order, each with the step that asks for it; `by_name` is each features step."""

    groups: Sequence[tuple[Group, FeaturesStep]]
    by_name: Mapping[str, Lookup]

    def of_rules(self, steps: Sequence[StepSpec], reads: Reads) -> list[FeaturesStep]:
        """What has to be asked so that expressions can read these names: cut from the groups, in their order."""
        asked = [step for step in steps if step.features]
        needed: set[str] = set()
        while more := set(steps_read(asked, reads)) - needed:
            needed |= more
            reads = reads.union(*(self.by_name[name].keys.reads for name in more))
        return [cut for _, step in self.groups if (cut := _cut(step, needed)).lookups]


def _cut(step: FeaturesStep, names: Collection[str]) -> FeaturesStep:
    kept = [lookup for lookup in step.lookups if lookup.name in names]
    return FeaturesStep(step.name, kept, step.sidecar, step.calls)


def keys_of(config: GraphConfig) -> dict[str, Inputs]:
    """What feeds the keys of each features step. Raises ExpressionError."""
    spec, bundles = config.spec, config.bundles or {}
    products = products_of(spec.api.request)
    keys = {}
    for step in spec.steps:
        if step.features:
            known = environment(spec, config.models, step, bundles)
            contract = bundles[step.features.bundle]
            keys[step.name] = compile_keys(step.features, contract.keys, known, products)
    return keys


def products_of(fields: Mapping[str, RequestField]) -> frozenset[str]:
    """The request fields that hold one product, as expressions read them."""
    return frozenset(f"request.{name}" for name, field in fields.items() if field.type == "product")


def lookups_of(
    config: GraphConfig, keys: Mapping[str, Inputs], reads: Mapping[str, Reads], around: Surroundings
) -> Lookups:
    """`reads`: the names that each step reads, and anything else under names of its own."""
    if not keys:
        return Lookups((), {})
    known = NOTHING.union(*reads.values())
    by_name = {lookup.name: lookup for lookup in _lookups(config, keys, known, around)}
    calls = around.metrics.of_lookups(config.name)
    groups = [
        (group, FeaturesStep(group.name, [by_name[name] for name in group.steps], around.sidecar, calls))
        for group in groups_of(config.spec.steps, reads)
    ]
    return Lookups(groups, by_name)


def _lookups(
    config: GraphConfig, keys: Mapping[str, Inputs], reads: Reads, around: Surroundings
) -> Iterator[Lookup]:
    recalls = Forming.of(config.spec.steps)
    for step in config.spec.steps:
        if step.features is None:
            continue
        contract = (config.bundles or {})[step.features.bundle]
        prefix = f"candidate.{step.identifier}." if looks_up_candidates(step) else f"{step.identifier}."
        yield Lookup(
            name=step.name,
            identifier=step.identifier,
            bundle=step.features.bundle,
            contract=contract,
            keys=keys[step.name],
            recalls=recalls.recalls_read(keys[step.name].reads),
            per_candidate=looks_up_candidates(step),
            strict=step.failure == "fail",
            read=[column for column in contract.columns if f"{prefix}{column.name}" in reads],
            seconds=_seconds(config, step),
            metrics=around.metrics.of_step(config.name, step.name),
        )


def _seconds(config: GraphConfig, step: StepSpec) -> float:
    if step.timeout:
        return milliseconds(step.timeout) / 1000
    return max(milliseconds(config.spec.deadline) / 1000 / _PART, _LEAST_SECONDS)
