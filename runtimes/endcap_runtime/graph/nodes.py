# SPDX-License-Identifier: Apache-2.0
"""The steps of a graph in the order in which they run, each with what it waits for and what is around it."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from endcap_api.runtime_config import GraphConfig
from endcap_api.v1alpha1.base import milliseconds
from endcap_api.v1alpha1.steps import Step as StepSpec
from endcap_runtime.graph.building import Built
from endcap_runtime.graph.dag import Node
from endcap_runtime.graph.fusing import Group, steps_read
from endcap_runtime.graph.lookups import Lookups
from endcap_runtime.graph.metrics import GraphMetrics
from endcap_runtime.graph.query import Step
from endcap_runtime.graph.reads import Forming
from endcap_runtime.graph.steps.features import FeaturesStep
from endcap_runtime.graph.steps.merge import MERGE, MergeStep
from endcap_runtime.graph.wrappers import deadline, fail_open, needing, timed

BESIDE = ("model", "recall")


@dataclass(frozen=True, slots=True)
class _Waiting:
    """The nodes that run beside the rest, by the steps whose values they give; none where one is alone.

    One that is alone runs in line, since a task of its own would only cost.
    """

    steps: Sequence[StepSpec]
    nodes: Mapping[str, str]

    @classmethod
    def of(cls, config: GraphConfig, lookups: Lookups) -> _Waiting:
        asking = {step.name: step.name for step in config.spec.steps if step.kind in BESIDE}
        groups = {name: group.name for group, _ in lookups.groups if not group.before for name in group.steps}
        found = asking | groups
        alone = len(set(found.values())) == 1
        return cls(config.spec.steps, {} if alone else found)

    def for_steps(self, names: Collection[str]) -> tuple[str, ...]:
        return tuple(dict.fromkeys(self.nodes[name] for name in names if name in self.nodes))

    def to_read(self, reads: Collection[str]) -> tuple[str, ...]:
        return self.for_steps(steps_read([s for s in self.steps if s.model or s.features], reads))

    @property
    def beside(self) -> bool:
        return bool(self.nodes)


def nodes_of(
    config: GraphConfig, built: Sequence[Built], lookups: Lookups, metrics: GraphMetrics
) -> tuple[Node, ...]:
    """Steps beside each other first, then the merge of what was recalled, then the candidates' steps."""
    waiting = _Waiting.of(config, lookups)
    asking = [each for each in built if each.spec.kind in BESIDE]
    recalls = tuple(Forming.of(config.spec.steps).recalls.values())
    beside = [_looking(group, step, waiting) for group, step in lookups.groups if not group.before]
    beside += [
        _node(config, each, metrics, waiting.to_read(each.reads), aside=waiting.beside) for each in asking
    ]
    merge = timed(MergeStep(recalls), metrics.of_step(config.name, MERGE))
    after = Node(merge, waiting.for_steps(recalls), beside=False)
    return (*beside, after, *_of_candidates(config, built, lookups, waiting, metrics))


def _of_candidates(
    config: GraphConfig, built: Sequence[Built], lookups: Lookups, waiting: _Waiting, metrics: GraphMetrics
) -> Iterator[Node]:
    by_name = {each.spec.name: each for each in built if each.spec.kind not in BESIDE}
    asked = {group.before: (group, step) for group, step in lookups.groups if group.before}
    for spec in config.spec.steps:
        if spec.name in asked:
            yield _looking(*asked[spec.name], waiting)
        if (each := by_name.get(spec.name)) is not None:
            # The answer shows what was said of the request, so the last step waits for all of it.
            shown = [step.name for step in config.spec.steps if step.model or step.features]
            needs = waiting.for_steps(shown) if spec.select else waiting.to_read(each.reads)
            yield _node(config, each, metrics, needs)


def _looking(group: Group, step: FeaturesStep, waiting: _Waiting) -> Node:
    """A call to the sidecar: it sees to its own time, notes and defaults."""
    strict = any(lookup.strict for lookup in step.lookups)
    return Node(step, waiting.for_steps(group.needs), waiting.beside and not group.before, strict)


def _node(
    config: GraphConfig, each: Built, metrics: GraphMetrics, needs: tuple[str, ...], *, aside: bool = False
) -> Node:
    return Node(_wrapped(config, each, metrics), needs, aside, _must_hold(each.spec))


def _wrapped(config: GraphConfig, built: Built, metrics: GraphMetrics) -> Step:
    spec = built.spec
    step = built.step if built.variants else limited(config, built)
    step = timed(step, metrics.of_step(config.name, spec.name))
    return step if _must_hold(spec) else fail_open(step)


def limited(config: GraphConfig, built: Built) -> Step:
    """The step with what it needs to be there, and its own time; one with variants has had this done to each."""
    spec, step = built.spec, built.step
    recalls = Forming.of(config.spec.steps).recalls_read(built.own)
    if recalls and not spec.rank:  # an order goes on with what the other sources know, a rule does not
        step = needing(step, recalls)
    return deadline(step, milliseconds(spec.timeout) / 1000) if spec.timeout else step


def _must_hold(spec: StepSpec) -> bool:
    """A select without a count has no answer: to go on without it would be to answer with everything."""
    return spec.select is not None or spec.failure == "fail"
