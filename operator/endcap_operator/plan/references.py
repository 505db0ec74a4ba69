# SPDX-License-Identifier: Apache-2.0
"""Which resources a resource names: a graph its models, bundles and views, a bundle its views, a view its store, an
experiment its graph, the models of its variants and its store.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from endcap_api.runtime_config import bundles_named, models_called, views_written
from endcap_api.v1alpha1.experiment import ExperimentSpec
from endcap_api.v1alpha1.featurebundle import FeatureBundleSpec
from endcap_api.v1alpha1.featureview import FeatureViewSpec
from endcap_api.v1alpha1.inferencegraph import InferenceGraphSpec
from endcap_api.v1alpha1.modeldeployment import ModelDeploymentSpec
from endcap_operator.keys import Key
from endcap_operator.plan.facts import Resource

FEATURES = ("FeatureStore", "FeatureView", "FeatureBundle")


def named_by(resource: Resource) -> list[Key]:
    """What a resource names itself, whether or not it exists."""
    return sorted({Key(kind, resource.identity.namespace, name) for kind, name in _named(resource)})


def _named(resource: Resource) -> Iterator[tuple[str, str]]:
    spec = resource.spec
    if isinstance(spec, InferenceGraphSpec):
        yield from (("ModelDeployment", name) for name in models_called(spec))
        yield from (("FeatureBundle", name) for name in bundles_named(spec))
        yield from (("FeatureView", name) for name in views_written(spec))
    elif isinstance(spec, ModelDeploymentSpec) and spec.features:
        yield "FeatureBundle", spec.features.bundle
    elif isinstance(spec, FeatureBundleSpec):
        yield from (("FeatureView", selected.view) for selected in spec.features)
    elif isinstance(spec, FeatureViewSpec):
        yield from _named_by_view(spec)
    elif isinstance(spec, ExperimentSpec):
        yield from _named_by_experiment(spec)


def _named_by_view(spec: FeatureViewSpec) -> Iterator[tuple[str, str]]:
    yield "FeatureStore", spec.store
    if spec.source.derived and spec.source.derived.model:
        yield "ModelDeployment", spec.source.derived.model


def _named_by_experiment(spec: ExperimentSpec) -> Iterator[tuple[str, str]]:
    yield "InferenceGraph", spec.graph
    yield from (("ModelDeployment", name) for name in spec.models)
    if spec.store:
        yield "FeatureStore", spec.store


def reached(start: Iterable[Key], step: Callable[[Key], Iterable[Key]]) -> set[Key]:
    """Everything that steps lead to from the start, which is not part of it unless a step leads there."""
    found: set[Key] = set()
    ahead = [key for first in start for key in step(first)]
    while ahead:
        key = ahead.pop()
        if key not in found:
            found.add(key)
            ahead += step(key)
    return found
