# SPDX-License-Identifier: Apache-2.0
"""The environment and the configuration of each process: that of a pod, with places of this machine."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from endcap_api.digest import digest_of
from endcap_api.features_config import StoreConfig
from endcap_api.runtime_config import (
    GraphConfig,
    ModelConfig,
    ModelContract,
    bundles_named,
    version_of,
    views_written,
)
from endcap_api.v1alpha1.featurestore import FeatureStoreSpec
from endcap_api.v1alpha1.inferencegraph import InferenceGraphSpec
from endcap_api.v1alpha1.modeldeployment import ModelDeploymentSpec
from endcap_cli.feature_contracts import Features
from endcap_cli.workspace import Name
from endcap_operator.manifests.features import store_config
from endcap_operator.manifests.identity import Identity
from endcap_operator.manifests.model import model_config

LOOPBACK = "127.0.0.1"
# -P: a file of the folder that somebody works in must not stand for a module of the same name.
LEASHED = (sys.executable, "-P", "-m", "endcap_cli.run.leash")
FETCH = (*LEASHED, "endcap_runtime.artefacts")
SERVE_MODEL = (*LEASHED, "endcap_runtime.model")
SERVE_GRAPH = (*LEASHED, "endcap_runtime.graph")
SERVE_SIDECAR = (*LEASHED, "endcap_runtime.features.sidecar")
SERVE_INGEST = (*LEASHED, "endcap_runtime.features.ingest")
TETHERED = (sys.executable, "-P", "-m", "endcap_cli.run.tether")


@dataclass(frozen=True)
class Files:
    """What a process leaves to be read: its log, and why it ended."""

    log: Path
    termination: Path


@dataclass(frozen=True)
class Places:
    """Where things are on this machine: `store` stands for S3 where it is set, `scratch` goes with the run."""

    store: Path | None
    cache: Path
    scratch: Path
    sockets: Path

    def artefact(self, config: ModelConfig) -> Path:
        """Shared by runs. Known by all that is said of it: a digest that is not that of the URI must show."""
        return self.cache / digest_of(config.artefact.dump())

    def files(self, label: str) -> Files:
        stem = label.replace(" ", "-")
        return Files(self.scratch / f"{stem}.log", self.scratch / f"{stem}.termination.json")

    def graph(self, name: Name) -> Path:
        return self.scratch / f"graph-{name.namespace}-{name.name}"

    def ingest(self, name: Name) -> Path:
        return self.scratch / f"ingest-{name.namespace}-{name.name}"

    def features(self, child: int) -> Path:
        """Of a model's sidecar; each version of a model has one of its own."""
        return self.scratch / f"features-{child}"

    def socket(self, child: int) -> Path:
        """Short, since the path of a socket has at most 107 bytes."""
        return self.sockets / f"{child}.sock"


def configured(name: Name, spec: ModelDeploymentSpec, features: Features) -> ModelConfig:
    """The very configuration that the operator would give the pod."""
    identity = Identity("ModelDeployment", name.namespace, name.name, "")
    if spec.features is None:
        return model_config(identity, spec)
    bundle = features.bundle_contracts()[spec.features.bundle]
    return model_config(identity, spec, bundle.columns)


def label_of(name: Name, spec: ModelDeploymentSpec) -> str:
    """Name and version, as answers show them and derived views know them."""
    return f"{name.name}@{version_of(spec.model.uri)}"


def graph_configured(
    name: Name, spec: InferenceGraphSpec, models: Mapping[str, ModelContract], features: Features
) -> GraphConfig:
    return GraphConfig(
        name=name.name,
        namespace=name.namespace,
        spec=spec,
        models=dict(models),
        bundles=features.bundle_contracts(bundles_named(spec)) or None,
        views=features.view_contracts(views_written(spec)) or None,
    )


def store_configured(name: Name, spec: FeatureStoreSpec, url: str | None) -> StoreConfig:
    """As the operator tells it; `url` is that of the Redis that stands for an embedded one, and wants no password."""
    config = store_config(name.namespace, name.name, spec)
    return config.model_copy(update={"url": url, "secret": None}) if url else config


def _common(places: Places, files: Files, port: int) -> dict[str, str]:
    store = {"ENDCAP_LOCAL_STORE": str(places.store)} if places.store else {}
    return {
        "BENTOML_DO_NOT_TRACK": "true",
        "OMP_NUM_THREADS": "1",
        **os.environ,
        **store,
        "ENDCAP_HOST": LOOPBACK,
        "ENDCAP_PORT": str(port),
        "ENDCAP_DRAIN_SECONDS": "0",
        "ENDCAP_TERMINATION_LOG": str(files.termination),
    }


def model_environment(
    config: ModelConfig,
    artefact: Path,
    places: Places,
    files: Files,
    port: int = 0,
) -> dict[str, str]:
    """Of the server, and of what fetches its artefact, which needs no port."""
    return {
        **_common(places, files, port),
        "ENDCAP_MODEL_CONFIG": json.dumps(config.dump()),
        "ENDCAP_ARTEFACT_DIR": str(artefact),
    }


def graph_environment(
    directory: Path, socket: Path, places: Places, files: Files, port: int
) -> dict[str, str]:
    """Of a graph, which knows where its sidecar listens also while it needs none: an edit may change that."""
    return {
        **_common(places, files, port),
        "ENDCAP_GRAPH_DIR": str(directory),
        **asking(socket),
    }


def asking(socket: Path) -> dict[str, str]:
    """What further a model knows that has a sidecar."""
    return {"ENDCAP_FEATURES_SOCKET": str(socket)}


def features_environment(directory: Path, places: Places, files: Files, port: int) -> dict[str, str]:
    """Of whatever reads features.json: an ingest process, and with a socket a sidecar."""
    return {**_common(places, files, port), "ENDCAP_FEATURES_DIR": str(directory)}


def sidecar_environment(
    directory: Path, socket: Path, places: Places, files: Files, port: int
) -> dict[str, str]:
    return {**features_environment(directory, places, files, port), **asking(socket)}
