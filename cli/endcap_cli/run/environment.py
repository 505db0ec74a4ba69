# SPDX-License-Identifier: Apache-2.0
"""The environment and the configuration of each process: that of a pod, with places of this machine."""

from __future__ import annotations

import json
import os
import secrets
import sys
from dataclasses import dataclass
from pathlib import Path

from endcap_api.digest import digest_of
from endcap_api.runtime_config import ModelConfig
from endcap_cli.workspace import Name

LOOPBACK = "127.0.0.1"
FORCE_KEY = "forceKey"
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

    def key(self, name: str) -> Path:
        """The folder of a Secret with one key, which is made here as the operator makes it: once, of a random text."""
        folder = self.scratch / f"secret-{name}"
        if not folder.exists():
            folder.mkdir(mode=0o700)
            (folder / name).write_text(secrets.token_hex(16), encoding="utf-8")
        return folder

    def socket(self, child: int) -> Path:
        """Short, since the path of a socket has at most 107 bytes."""
        return self.sockets / f"{child}.sock"


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
        "ENDCAP_FORCE_DIR": str(places.key(FORCE_KEY)),
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
