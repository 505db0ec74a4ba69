# SPDX-License-Identifier: Apache-2.0
"""The children of an InferenceGraph.

What a graph does lives in a ConfigMap that its pods watch, never in the pod template: an edit of a step reaches
every replica without a restart. Only what a pod is made of (image, size, volumes) is in the template.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from endcap_api.runtime_config import GraphConfig
from endcap_operator.manifests.autoscaler import autoscaler, autoscales
from endcap_operator.manifests.configuration import config_map
from endcap_operator.manifests.deployment import deployment
from endcap_operator.manifests.disruption import disruption_budget
from endcap_operator.manifests.identity import Identity
from endcap_operator.manifests.pod import (
    Mount,
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


def graph_children(
    identity: Identity, config: GraphConfig, data: Mapping[str, str], platform: Platform
) -> list[dict[str, Any]]:
    """`data` is that of the ConfigMap; `config` says what the pods are made of."""
    children = [
        config_map(identity, data),
        service(identity),
        disruption_budget(identity),
        _deployment(identity, config, platform),
    ]
    replicas = config.spec.replicas
    return [*children, autoscaler(identity, replicas)] if autoscales(replicas) else children


def _deployment(identity: Identity, config: GraphConfig, platform: Platform) -> dict[str, Any]:
    catalogue = config.spec.catalogue
    secret = catalogue.secret_ref.name if catalogue.secret_ref else None
    watched = Mount({"name": "graph", "configMap": {"name": identity.child}}, DIRECTORY)
    mounts = [watched, *scratch(), *sources(catalogue.uri, secret)]
    env = variables({"ENDCAP_GRAPH_DIR": DIRECTORY, **reach(platform)})
    serve = {
        **container(CONTAINER, platform.images["graph"], SERVE, env, mounts),
        "imagePullPolicy": platform.pull_policy,
        "resources": sized(config.spec.resources),
        **served(),
    }
    return deployment(identity, config.spec.replicas, [serve], mounts)
