# SPDX-License-Identifier: Apache-2.0
"""The children of an InferenceGraph.

What a graph does lives in a ConfigMap that its pods watch, never in the pod template: an edit of a step reaches
every replica without a restart. Only what a pod is made of (image, size, volumes) is in the template.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from endcap_api.features_config import FeaturesConfig
from endcap_api.runtime_config import GraphConfig
from endcap_operator.manifests.autoscaler import autoscaler, autoscales
from endcap_operator.manifests.configuration import config_map
from endcap_operator.manifests.deployment import deployment
from endcap_operator.manifests.disruption import disruption_budget
from endcap_operator.manifests.features import asking, sidecar, sockets
from endcap_operator.manifests.identity import Identity
from endcap_operator.manifests.keys import FORCE_DIRECTORY, force_mount
from endcap_operator.manifests.pod import (
    config_mount,
    container,
    reach,
    scratch,
    served,
    sized,
    sources,
    variables,
)
from endcap_operator.manifests.service import service
from endcap_operator.platform import Platform

CONTAINER = "graph"
DIRECTORY = "/etc/endcap/graph"
SERVE = ("python", "-m", "endcap_runtime.graph")


@dataclass(frozen=True)
class Configured:
    """A graph's configuration, and that of its feature sidecar if it has one."""

    graph: GraphConfig
    features: FeaturesConfig | None = None


def graph_children(
    identity: Identity, configured: Configured, data: Mapping[str, str], platform: Platform
) -> list[dict[str, Any]]:
    """`data` is that of the ConfigMap; `configured` says what the pods are made of."""
    children = [
        config_map(identity, data),
        service(identity),
        disruption_budget(identity),
        _deployment(identity, configured, platform),
    ]
    replicas = configured.graph.spec.replicas
    return [*children, autoscaler(identity, replicas)] if autoscales(replicas) else children


def _deployment(identity: Identity, configured: Configured, platform: Platform) -> dict[str, Any]:
    spec, features = configured.graph.spec, configured.features
    secret = spec.catalogue.secret_ref.name if spec.catalogue.secret_ref else None
    watched = config_mount(identity.child, "graph", DIRECTORY)
    asks = [sockets()] if features else []
    mounts = [watched, *scratch(), *sources(spec.catalogue.uri, secret), force_mount(identity), *asks]
    known = {"ENDCAP_GRAPH_DIR": DIRECTORY, "ENDCAP_FORCE_DIR": FORCE_DIRECTORY}
    env = variables({**known, **reach(platform), **(asking() if features else {})})
    serve = {
        **container(CONTAINER, platform.images["graph"], SERVE, env, mounts),
        "imagePullPolicy": platform.pull_policy,
        "resources": sized(spec.resources),
        **served(),
    }
    if features is None:
        return deployment(identity, spec.replicas, [serve], mounts)
    beside, more = sidecar(features, platform, watched)
    return deployment(identity, spec.replicas, [serve], [*mounts, *more], init=[beside])
