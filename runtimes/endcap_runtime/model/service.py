# SPDX-License-Identifier: Apache-2.0
"""Puts the model server together: predictor, batching, front, BentoML."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from endcap_api.runtime_config import ModelConfig
from endcap_runtime import bento
from endcap_runtime.asgi import App
from endcap_runtime.graph.sidecar import SOCKET, Sidecar
from endcap_runtime.model.batch import Batches, Place
from endcap_runtime.model.counters import Counters
from endcap_runtime.model.features import Features
from endcap_runtime.model.front import Front, Limits
from endcap_runtime.model.job import rows_of
from endcap_runtime.model.predictor import load, only_calculates
from endcap_runtime.model.served import Served
from endcap_runtime.observability.metrics import registry
from endcap_runtime.server import Lifecycle


class Built(NamedTuple):
    """An ASGI app that is ready to be served."""

    app: App
    lifecycle: Lifecycle
    label: str
    revision: str


def build(config: ModelConfig, directory: Path, limits: Limits, socket: str = SOCKET) -> Built:
    """Loads the model and makes its service; `socket` is where its sidecar listens. Raises StartFailed."""
    lifecycle, metrics = Lifecycle(), registry()
    counters = Counters(metrics, config.name, config.version)
    predictor = load(config, directory, counters.phase)
    served = Served.of(config, takes_matrix=predictor.takes_matrix)
    front = Front(served, counters, metrics, lifecycle, limits)
    features = Features(config.features, Sidecar(socket), counters) if config.features else None
    batches = Batches(predictor, Place(only_calculates=only_calculates(config)), counters.rows, features)
    batching = bento.Batching(batches, rows_of, config.max_batch_rows, config.max_latency_ms)
    app = bento.service(config.name, front.before, lambda: lifecycle.ready, batching).to_asgi()
    lifecycle.loaded = True
    return Built(app, lifecycle, config.label, config.revision)
