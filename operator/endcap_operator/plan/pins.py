# SPDX-License-Identifier: Apache-2.0
"""What keeps a model at the artefact that an experiment began with: what is measured must not change under it.

The pods go on as they are, and may be scaled; another artefact waits until no experiment holds the one that is there.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from pydantic import ValidationError

from endcap_api.runtime_config import ModelConfig
from endcap_api.v1alpha1.base import SecretRef
from endcap_api.v1alpha1.modeldeployment import (
    Batching,
    Hook,
    Model,
    ModelDeploymentSpec,
    ModelFeatures,
)
from endcap_operator.keys import Manifest
from endcap_operator.manifests.identity import Identity
from endcap_operator.manifests.model import CONFIG
from endcap_operator.plan.experiment.overlay import routed_records
from endcap_operator.plan.facts import Observed


class Held(NamedTuple):
    """The spec that is acted on in place of the one that is written, and who holds it."""

    spec: ModelDeploymentSpec
    experiment: str
    label: str


def held(identity: Identity, spec: ModelDeploymentSpec, observed: Observed) -> Held | None:
    live = _config_of(observed.child(identity, "Deployment"))
    if live is None or live.artefact.sha256 == spec.model.sha256:
        return None
    for experiment, digest in _pins_on(identity.name, observed):
        if digest == live.artefact.sha256:
            return Held(_as_served(spec, live), experiment, live.label)
    return None


def _pins_on(model: str, observed: Observed) -> Iterator[tuple[str, str]]:
    """Experiments that have begun, and the digest at which each pins the model."""
    for name, _, record in routed_records(observed):
        yield from ((name, pin.sha256) for pin in record.pins.values() if pin.model == model and pin.sha256)


def _config_of(deployment: Manifest | None) -> ModelConfig | None:
    if deployment is None:
        return None
    container = deployment["spec"]["template"]["spec"]["containers"][0]
    text = next((v.get("value") for v in container.get("env") or () if v.get("name") == CONFIG), None)
    try:
        return ModelConfig.model_validate_json(text or "")
    except ValidationError:
        return None


def _as_served(spec: ModelDeploymentSpec, live: ModelConfig) -> ModelDeploymentSpec:
    """The spec with all that the pods were configured with; their number and size stay as they are asked for."""
    return spec.model_copy(
        update={
            "framework": live.framework,
            "model": _source(live),
            "preprocess": Hook(python=live.preprocess) if live.preprocess else None,
            "postprocess": Hook(python=live.postprocess) if live.postprocess else None,
            "inputs": live.inputs,
            "outputs": live.outputs,
            "batching": Batching(max_size=live.max_batch_rows, max_latency=f"{live.max_latency_ms}ms"),
            "features": _features(live),
        }
    )


def _source(live: ModelConfig) -> Model:
    return Model(
        uri=live.artefact.uri,
        sha256=live.artefact.sha256,
        secret_ref=SecretRef(name=live.artefact.secret) if live.artefact.secret else None,
        entry_point=live.entry_point,
        allow_pickle=live.artefact.allow_pickle,
    )


def _features(live: ModelConfig) -> ModelFeatures | None:
    return ModelFeatures(bundle=live.features.bundle, keys=live.features.keys) if live.features else None
