# SPDX-License-Identifier: Apache-2.0
"""Questions about a set of children, the same for every kind of resource."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from endcap_api.v1alpha1.base import Element
from endcap_api.v1alpha1.featurestore import FeatureStoreSpec
from endcap_api.v1alpha1.inferencegraph import InferenceGraphSpec
from endcap_api.v1alpha1.modeldeployment import ModelDeploymentSpec
from endcap_api.v1alpha1.pods import Replicas
from endcap_operator.keys import Key, Manifest, key_of
from endcap_operator.manifests.autoscaler import autoscales
from endcap_operator.manifests.identity import COMPONENTS, Identity
from endcap_operator.plan.facts import Observed

SERVED = ("ConfigMap", "Service", "PodDisruptionBudget", "Deployment", "HorizontalPodAutoscaler")
# By component. The Secret of a store is not among them: it is made once, and never looked at again.
CHILD_KINDS = {
    "model": SERVED,
    "graph": SERVED,
    "ingest": SERVED,
    "store": ("PersistentVolumeClaim", "Service", "PodDisruptionBudget", "Deployment"),
    "experiment": ("ConfigMap",),
}
# It holds data: only who deletes the whole resource means to lose them.
KEPT = "PersistentVolumeClaim"


def possible_children(identity: Identity) -> list[Key]:
    """The objects that any spec of the resource could be made into."""
    return [
        identity.of(component).key(kind)
        for component in COMPONENTS[identity.kind]
        for kind in CHILD_KINDS[component]
    ]


def wanted_children(identity: Identity, spec: Element | None) -> list[Key]:
    """The objects that this spec is made into; none while it cannot be read."""
    if spec is None:
        return []
    without = {identity.of(component).key(kind) for component, kind in _unwanted(spec)}
    return [key for key in possible_children(identity) if key not in without]


def _unwanted(spec: Element) -> Iterator[tuple[str, str]]:
    """The children that only some specs have, of those that do not."""
    if isinstance(spec, ModelDeploymentSpec):
        yield from _unscaled("model", spec.replicas)
        if spec.features is None:
            yield "model", "ConfigMap"
    if isinstance(spec, InferenceGraphSpec):
        yield from _unscaled("graph", spec.replicas)
    if isinstance(spec, FeatureStoreSpec):
        yield from _unscaled("ingest", spec.ingest.replicas)
        yield from _not_embedded(spec)


def _unscaled(component: str, replicas: Replicas) -> Iterator[tuple[str, str]]:
    """An autoscaler only with a range of replicas."""
    if not autoscales(replicas):
        yield component, "HorizontalPodAutoscaler"


def _not_embedded(spec: FeatureStoreSpec) -> Iterator[tuple[str, str]]:
    if spec.redis:
        yield from (("store", kind) for kind in CHILD_KINDS["store"])
    if not (spec.embedded and spec.embedded.storage):
        yield "store", "PersistentVolumeClaim"


def deployment_of(manifests: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The Deployment among the children of one component."""
    return next(manifest for manifest in manifests if manifest["kind"] == "Deployment")


def pruned(manifests: Sequence[Manifest], observed: Observed) -> tuple[Manifest, ...]:
    """Our own children that are no longer wanted, but for those that hold data."""
    wanted = {key_of(manifest) for manifest in manifests}
    return tuple(
        child for key, child in sorted(observed.children.items()) if key not in wanted and key.kind != KEPT
    )


def seed(identity: Identity, replicas: Replicas, observed: Observed) -> int | None:
    """The number of replicas to hold until the autoscaler sets it; the API server would make it 1."""
    live = observed.child(identity, "Deployment")
    if not autoscales(replicas) or (live and observed.child(identity, "HorizontalPodAutoscaler")):
        return None
    number = live["spec"].get("replicas", replicas.min) if live else replicas.min
    return int(max(replicas.min, min(number, replicas.max or number)))
