# SPDX-License-Identifier: Apache-2.0
"""Questions about a set of children, the same for every kind of resource."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from endcap_api.v1alpha1.pods import Replicas
from endcap_operator.keys import Manifest
from endcap_operator.manifests.autoscaler import autoscales
from endcap_operator.plan.facts import Observed

CHILD_KINDS = {
    "ModelDeployment": ("Service", "PodDisruptionBudget", "Deployment", "HorizontalPodAutoscaler"),
    "InferenceGraph": (
        "ConfigMap",
        "Service",
        "PodDisruptionBudget",
        "Deployment",
        "HorizontalPodAutoscaler",
    ),
}


def wanted_kinds(kind: str, replicas: Replicas) -> tuple[str, ...]:
    """The kinds of child that a resource has; an autoscaler only with a range of replicas."""
    kinds = CHILD_KINDS[kind]
    return kinds if autoscales(replicas) else kinds[:-1]


def deployment_of(manifests: Sequence[dict[str, Any]]) -> dict[str, Any]:
    return next(manifest for manifest in manifests if manifest["kind"] == "Deployment")


def pruned(manifests: Sequence[Manifest], observed: Observed) -> tuple[Manifest, ...]:
    """Our own children that are no longer wanted."""
    wanted = {manifest["kind"] for manifest in manifests}
    return tuple(child for kind, child in sorted(observed.children.items()) if kind not in wanted)


def seed(replicas: Replicas, observed: Observed) -> int | None:
    """The number of replicas to hold until the autoscaler sets it; the API server would make it 1."""
    live = observed.children.get("Deployment")
    if not autoscales(replicas) or (live and "HorizontalPodAutoscaler" in observed.children):
        return None
    number = live["spec"].get("replicas", replicas.min) if live else replicas.min
    return int(max(replicas.min, min(number, replicas.max or number)))
