# SPDX-License-Identifier: Apache-2.0
"""What is known of an experiment when it is decided how it goes on: models, graph, neighbours and routers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from endcap_api.experiment_checks import missing_of
from endcap_api.experiment_config import experiment_id, overlaid
from endcap_api.runtime_config import GraphConfig, version_of
from endcap_api.v1alpha1.experiment import ExperimentSpec, Variant
from endcap_api.v1alpha1.featurestore import FeatureStoreSpec
from endcap_api.v1alpha1.inferencegraph import InferenceGraphSpec
from endcap_api.v1alpha1.modeldeployment import ModelDeploymentSpec
from endcap_api.v1alpha1.steps import Step
from endcap_operator.keys import Key
from endcap_operator.manifests.identity import Identity
from endcap_operator.plan.configuration import kept
from endcap_operator.plan.experiment.beginning import changed
from endcap_operator.plan.experiment.course import Facts
from endcap_operator.plan.experiment.overlay import all_contracts, conflicts_in, held_contracts, problems_on
from endcap_operator.plan.experiment.record import Pin, Record
from endcap_operator.plan.facts import Observed, Referenced, Resource
from endcap_operator.plan.graph import graph_config
from endcap_operator.plan.pods import Pod


@dataclass(frozen=True)
class Situation:
    """An experiment among what it names; `record` is what has been decided before."""

    resource: Resource
    spec: ExperimentSpec
    observed: Observed
    record: Record | None

    @property
    def name(self) -> str:
        return self.resource.identity.name

    @property
    def id(self) -> str:
        return experiment_id(self.resource.identity.uid)

    @property
    def begun(self) -> bool:
        return self.record is not None and self.record.phase != "Pending"

    @cached_property
    def graph(self) -> InferenceGraphSpec | None:
        return self.observed.specs(InferenceGraphSpec).get(self.spec.graph)

    @cached_property
    def step(self) -> Step | None:
        """The overlaid step, as the graph has it now."""
        steps = self.graph.steps if self.graph else ()
        return next((step for step in steps if step.name == self.spec.step), None)

    @cached_property
    def conflict(self) -> str | None:
        return conflicts_in(self.observed).get(self.name)

    @cached_property
    def altered(self) -> tuple[str, ...]:
        """What is not as it began, by an edit that the API server should have refused."""
        fields = changed(self.name, self.spec, self.record) if self.record and not self.record.final else []
        remedy = "is not what it began with: put it back, or create another Experiment"
        return tuple(f"spec.{field}: {remedy}" for field in fields)

    @cached_property
    def problems(self) -> tuple[str, ...]:
        """What the author must change."""
        return problems_on(self.spec, self._graph_config())

    def _graph_config(self) -> GraphConfig | None:
        """With the contracts of all models that are seen; those that are held are what they were."""
        if self.graph is None:
            return None
        namespace = self.resource.identity.namespace
        config = graph_config(
            Identity("InferenceGraph", namespace, self.spec.graph, ""), self.graph, self.observed
        )
        contracts = all_contracts(namespace, self.observed)
        before = kept(self.observed.measured.told)
        held = held_contracts(self.observed, before.graph if before else None)
        return config.model_copy(update={"models": {**contracts, **held}})

    @cached_property
    def missing(self) -> tuple[str, ...]:
        """What it names and does not exist, e.g. `ModelDeployment x`."""
        observed = self.observed
        there = (observed.specs(of) for of in (InferenceGraphSpec, ModelDeploymentSpec, FeatureStoreSpec))
        return tuple(missing_of(self.spec, *there))

    def model_of(self, variant: Variant) -> str | None:
        """The ModelDeployment that a variant asks: of the baseline that of the step as the graph has it."""
        if variant.baseline:
            return self.step.model_name if self.step else None
        return variant.model

    def deployment_of(self, variant: Variant) -> Referenced | None:
        model = self.model_of(variant)
        key = Key("ModelDeployment", self.resource.identity.namespace, model or "")
        return self.observed.resources.get(key) if model else None

    @cached_property
    def unready(self) -> tuple[str, ...]:
        """Variants that cannot serve (yet)."""
        return tuple(variant.name for variant in self.spec.variants if not self._is_ready(variant))

    def _is_ready(self, variant: Variant) -> bool:
        if self.model_of(variant) is None:
            return self.step is not None
        found = self.deployment_of(variant)
        return found is not None and found.ready

    @property
    def graph_ready(self) -> bool:
        key = Key("InferenceGraph", self.resource.identity.namespace, self.spec.graph)
        return key in self.observed.resources and self.observed.resources[key].ready

    @cached_property
    def pins(self) -> dict[str, Pin]:
        """By variant what its ModelDeployment asks for; before the begin only once its pods serve that."""
        return dict(self._pins())

    def _pins(self) -> Iterator[tuple[str, Pin]]:
        for variant in self.spec.variants:
            model, found = self.model_of(variant), self.deployment_of(variant)
            if model is None or found is None or not isinstance(found.spec, ModelDeploymentSpec):
                continue
            source = found.spec.model
            if self.begun or found.sha256 == source.sha256:
                yield (
                    variant.name,
                    Pin(model=model, label=f"{model}@{version_of(source.uri)}", sha256=source.sha256),
                )

    @cached_property
    def named(self) -> frozenset[str]:
        """The variants that do the step just as the graph has it written."""
        step = self.step
        if step is None:
            return frozenset()
        return frozenset(
            v.name for v in self.spec.variants if not self.problems and overlaid(step, v) == step
        )

    def drift(self, record: Record) -> list[str]:
        """Where what is asked for is no longer what was measured, in words."""
        return [
            f"variant {name} is held at {pin.label}, and {'its model' if now else 'nothing'} is now "
            f"{f'{now.label} ({now.sha256[:12]})' if now else 'there'}"
            for name, pin in record.pins.items()
            if (now := self.pins.get(name)) is None or (now.model, now.sha256) != (pin.model, pin.sha256)
        ]

    def facts(self) -> Facts:
        conflict = (self.conflict,) if self.conflict else ()
        can_begin = self.begun or (self.graph_ready and self.observed.measured.counted)
        waiting = self.unready if can_begin else tuple(v.name for v in self.spec.variants)
        unpinned = [v.name for v in self.spec.variants if self.model_of(v) and v.name not in self.pins]
        return Facts(
            name=self.name,
            id=self.id,
            problems=(*self.problems, *conflict),
            pins=self.pins,
            unready=tuple(dict.fromkeys((*waiting, *unpinned))),
            synced=self.record is not None and is_synced(self.name, self.record, self.routers),
            named=self.named,
        )

    @property
    def routers(self) -> tuple[Pod, ...]:
        """The ready pods of the graph."""
        return tuple(pod for pod in self.observed.measured.routers if pod.ready)


def carries(name: str, record: Record, pod: Pod) -> bool:
    """Whether a pod of the graph does as the record says: serves its revision, or nothing of it."""
    if pod.serving is None:
        return False
    served = pod.serving.experiments.get(name)
    return served == (record.revision if record.routed else None)


def is_synced(name: str, record: Record, routers: tuple[Pod, ...]) -> bool:
    return bool(routers) and all(carries(name, record, pod) for pod in routers)
