# SPDX-License-Identifier: Apache-2.0
"""Which other resources a resource names, and in which of its fields."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from endcap_api.v1alpha1.base import Element
from endcap_api.v1alpha1.experiment import ExperimentSpec
from endcap_api.v1alpha1.featurebundle import FeatureBundleSpec
from endcap_api.v1alpha1.featureview import FeatureViewSpec
from endcap_api.v1alpha1.inferencegraph import InferenceGraphSpec
from endcap_api.v1alpha1.modeldeployment import ModelDeploymentSpec

MODEL, GRAPH = "ModelDeployment", "InferenceGraph"
STORE, VIEW, BUNDLE = "FeatureStore", "FeatureView", "FeatureBundle"
EXPERIMENT = "Experiment"


class Reference(NamedTuple):
    """A resource of the same namespace that another names."""

    kind: str
    name: str
    field: str


def references(spec: Element) -> Iterator[Reference]:
    """Every mention, in the order of the fields; a name may be there several times."""
    if isinstance(spec, InferenceGraphSpec):
        yield from _of_graph(spec)
    elif isinstance(spec, ModelDeploymentSpec) and spec.features:
        yield Reference(BUNDLE, spec.features.bundle, "spec.features.bundle")
    elif isinstance(spec, FeatureBundleSpec):
        for index, selected in enumerate(spec.features):
            yield Reference(VIEW, selected.view, f"spec.features[{index}].view")
    elif isinstance(spec, FeatureViewSpec):
        yield Reference(STORE, spec.store, "spec.store")
        if spec.source.derived and spec.source.derived.model:
            yield Reference(MODEL, spec.source.derived.model, "spec.source.derived.model")
    elif isinstance(spec, ExperimentSpec):
        yield from _of_experiment(spec)


def _of_graph(spec: InferenceGraphSpec) -> Iterator[Reference]:
    for index, step in enumerate(spec.steps):
        if step.model_name:
            yield Reference(MODEL, step.model_name, f"spec.steps[{index}].{step.kind}.model")
        if step.features:
            yield Reference(BUNDLE, step.features.bundle, f"spec.steps[{index}].features.bundle")
    for index, rung in enumerate(spec.fallback or ()):
        if rung.model:
            yield Reference(MODEL, rung.model, f"spec.fallback[{index}].model")
    for index, each in enumerate(spec.write_back or ()):
        yield Reference(VIEW, each.view, f"spec.writeBack[{index}].view")


def _of_experiment(spec: ExperimentSpec) -> Iterator[Reference]:
    yield Reference(GRAPH, spec.graph, "spec.graph")
    for index, variant in enumerate(spec.variants):
        if variant.model:
            yield Reference(MODEL, variant.model, f"spec.variants[{index}].model")
    if spec.store:
        yield Reference(STORE, spec.store, "spec.store")
