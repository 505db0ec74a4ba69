# SPDX-License-Identifier: Apache-2.0
"""The children of a ModelDeployment.

The configuration lives in the pod template, so each ReplicaSet keeps that of its own pods: a version that does not
start can never change what the pods of the version before it serve.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from endcap_api.feature_columns import FeatureColumn
from endcap_api.features_config import FeaturesConfig
from endcap_api.runtime_config import ArtefactConfig, ModelConfig, ModelFeaturesConfig
from endcap_api.v1alpha1.base import milliseconds
from endcap_api.v1alpha1.modeldeployment import ModelDeploymentSpec
from endcap_operator.manifests.autoscaler import autoscaler, autoscales
from endcap_operator.manifests.configuration import FEATURES, config_map, text_of
from endcap_operator.manifests.deployment import deployment
from endcap_operator.manifests.disruption import disruption_budget
from endcap_operator.manifests.features import DIRECTORY, asking, sidecar, sockets
from endcap_operator.manifests.identity import Identity
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

CONFIG = "ENDCAP_MODEL_CONFIG"
CONTAINER = "model"
FETCH = ("python", "-m", "endcap_runtime.artefacts")
SERVE = ("python", "-m", "endcap_runtime.model")


def model_config(
    identity: Identity, spec: ModelDeploymentSpec, columns: Sequence[FeatureColumn] = ()
) -> ModelConfig:
    """`columns` are those of the bundle that the model names, where it names one."""
    artefact = ArtefactConfig(
        uri=spec.model.uri,
        sha256=spec.model.sha256,
        secret=spec.model.secret_ref.name if spec.model.secret_ref else None,
        allow_pickle=spec.model.allow_pickle,
    )
    return ModelConfig(
        name=identity.name,
        namespace=identity.namespace,
        framework=spec.framework,
        artefact=artefact,
        entry_point=spec.model.entry_point,
        preprocess=spec.preprocess.python if spec.preprocess else None,
        postprocess=spec.postprocess.python if spec.postprocess else None,
        inputs=spec.inputs,
        outputs=spec.outputs,
        max_batch_rows=spec.batching.max_size,
        max_latency_ms=milliseconds(spec.batching.max_latency),
        features=_joined(spec, columns),
    )


def _joined(spec: ModelDeploymentSpec, columns: Sequence[FeatureColumn]) -> ModelFeaturesConfig | None:
    if spec.features is None:
        return None
    return ModelFeaturesConfig(bundle=spec.features.bundle, keys=spec.features.keys, columns=list(columns))


def model_children(
    identity: Identity,
    spec: ModelDeploymentSpec,
    config: ModelConfig,
    features: FeaturesConfig | None,
    platform: Platform,
) -> list[dict[str, Any]]:
    """`features` is the configuration of the sidecar, for a model that names features."""
    children = [
        *([config_map(identity, {FEATURES: text_of(features)})] if features else []),
        service(identity),
        disruption_budget(identity),
        _deployment(identity, spec, config, features, platform),
    ]
    return [*children, autoscaler(identity, spec.replicas)] if autoscales(spec.replicas) else children


def _deployment(
    identity: Identity,
    spec: ModelDeploymentSpec,
    config: ModelConfig,
    features: FeaturesConfig | None,
    platform: Platform,
) -> dict[str, Any]:
    mounts = [*scratch(), *sources(config.artefact.uri, config.artefact.secret)]
    known = {CONFIG: text_of(config), **reach(platform)}
    image, common = platform.images[spec.framework], _common(spec, platform)
    fetch = {**container("fetch", image, FETCH, variables(known), mounts), **common}
    if features is None:
        serve = container(CONTAINER, image, SERVE, variables(known), mounts)
        return deployment(identity, spec.replicas, [{**serve, **common, **served()}], mounts, init=[fetch])
    beside, more = sidecar(features, platform, config_mount(identity.child, "configuration", DIRECTORY))
    env = variables({**known, **asking()})
    serve = {**container(CONTAINER, image, SERVE, env, [*mounts, sockets()]), **common, **served()}
    return deployment(identity, spec.replicas, [serve], [*mounts, *more], init=[fetch, beside])


def _common(spec: ModelDeploymentSpec, platform: Platform) -> dict[str, Any]:
    return {"imagePullPolicy": platform.pull_policy, "resources": sized(spec.resources)}
