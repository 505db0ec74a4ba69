# SPDX-License-Identifier: Apache-2.0
"""The children of a ModelDeployment.

The configuration lives in the pod template, so each ReplicaSet keeps that of its own pods: a version that does not
start can never change what the pods of the version before it serve.
"""

from __future__ import annotations

import json
from typing import Any

from endcap_api.runtime_config import ArtefactConfig, ModelConfig
from endcap_api.v1alpha1.base import milliseconds
from endcap_api.v1alpha1.modeldeployment import ModelDeploymentSpec
from endcap_operator.manifests.autoscaler import autoscaler, autoscales
from endcap_operator.manifests.deployment import deployment
from endcap_operator.manifests.disruption import disruption_budget
from endcap_operator.manifests.identity import Identity
from endcap_operator.manifests.pod import (
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


def model_config(identity: Identity, spec: ModelDeploymentSpec) -> ModelConfig:
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
    )


def model_children(identity: Identity, spec: ModelDeploymentSpec, platform: Platform) -> list[dict[str, Any]]:
    children = [
        service(identity),
        disruption_budget(identity),
        _deployment(identity, spec, platform),
    ]
    return [*children, autoscaler(identity, spec.replicas)] if autoscales(spec.replicas) else children


def _deployment(identity: Identity, spec: ModelDeploymentSpec, platform: Platform) -> dict[str, Any]:
    config = model_config(identity, spec)
    mounts = [*scratch(), *sources(config.artefact.uri, config.artefact.secret)]
    image, env = platform.images[spec.framework], _environment(config, platform)
    fetch = container("fetch", image, FETCH, env, mounts)
    serve = container(CONTAINER, image, SERVE, env, mounts)
    common = {"imagePullPolicy": platform.pull_policy, "resources": sized(spec.resources)}
    return deployment(
        identity, spec.replicas, [{**serve, **common, **served()}], mounts, init=[{**fetch, **common}]
    )


def _environment(config: ModelConfig, platform: Platform) -> list[dict[str, str]]:
    return variables(
        {CONFIG: json.dumps(config.dump(), sort_keys=True, ensure_ascii=False), **reach(platform)}
    )
