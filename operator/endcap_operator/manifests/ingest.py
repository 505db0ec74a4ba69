# SPDX-License-Identifier: Apache-2.0
"""The ingest pods of a FeatureStore: they take events and rows, and apply them.

What they read lives in a ConfigMap that they watch, so that a view that is new or edited is fed without a restart.
"""

from __future__ import annotations

from typing import Any

from endcap_api.features_config import FeaturesConfig
from endcap_api.v1alpha1.featurestore import Ingest
from endcap_operator.manifests.autoscaler import autoscaler, autoscales
from endcap_operator.manifests.configuration import FEATURES, config_map, text_of
from endcap_operator.manifests.deployment import deployment
from endcap_operator.manifests.disruption import disruption_budget
from endcap_operator.manifests.features import DIRECTORY, credentials, reading
from endcap_operator.manifests.identity import Identity
from endcap_operator.manifests.keys import UNIT_KEY_DIRECTORY, unit_key_mount
from endcap_operator.manifests.pod import (
    config_mount,
    container,
    home,
    scratch,
    served,
    sized,
    variables,
)
from endcap_operator.manifests.service import service
from endcap_operator.platform import Platform

CONTAINER = "ingest"
SERVE = ("python", "-m", "endcap_runtime.features.ingest")


def ingest_children(
    identity: Identity, spec: Ingest, config: FeaturesConfig, platform: Platform
) -> list[dict[str, Any]]:
    children = [
        config_map(identity, {FEATURES: text_of(config)}),
        service(identity),
        disruption_budget(identity),
        _deployment(identity, spec, config, platform),
    ]
    return [*children, autoscaler(identity, spec.replicas)] if autoscales(spec.replicas) else children


def _deployment(
    identity: Identity, spec: Ingest, config: FeaturesConfig, platform: Platform
) -> dict[str, Any]:
    watched = config_mount(identity.child, "configuration", DIRECTORY)
    mounts = [watched, *scratch()[:1], *credentials(config), unit_key_mount(identity)]
    env = variables({**reading(DIRECTORY), "ENDCAP_UNIT_KEY_DIR": UNIT_KEY_DIRECTORY, **home()})
    serve = {
        **container(CONTAINER, platform.images["graph"], SERVE, env, mounts),
        "imagePullPolicy": platform.pull_policy,
        "resources": sized(spec.resources),
        **served(),
    }
    return deployment(identity, spec.replicas, [serve], mounts)
