# SPDX-License-Identifier: Apache-2.0
"""A graph on this machine: its configuration in a folder that its server watches, as in a pod."""

from __future__ import annotations

import json
import os
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from endcap_api.features_config import FeaturesConfig
from endcap_api.runtime_config import GraphConfig
from endcap_cli.run import sidecar as sidecars
from endcap_cli.run.children import Children
from endcap_cli.run.environment import SERVE_GRAPH, graph_environment
from endcap_cli.run.process import POLL_SECONDS, Child, StartFailed, rejected, serving
from endcap_cli.run.sidecar import Sidecar
from endcap_cli.terminal import complain
from endcap_cli.workspace import Name

SWAP_SECONDS = 30.0


@dataclass(frozen=True)
class Configured:
    """What a graph is told, and its sidecar where it names features."""

    graph: GraphConfig
    features: FeaturesConfig | None


@dataclass
class Graph:
    """`config` is what the server serves, not what was last asked for."""

    config: GraphConfig
    child: Child
    directory: Path
    sidecar: Sidecar | None = None

    @property
    def url(self) -> str:
        return f"{self.child.url}{self.config.spec.api.path}"


def start(wanted: Configured, child: Child, children: Children) -> Graph:
    """Blocks until the graph serves, after its sidecar; raises StartFailed or Stopped."""
    config, places = wanted.graph, children.places
    directory = places.graph(Name(config.namespace, config.name))
    directory.mkdir(parents=True, exist_ok=True)
    sidecar = sidecars.start(wanted.features, directory, child, children) if wanted.features else None
    begun = time.monotonic()
    _write(config, directory)
    socket = places.socket(child.port)
    child.start(SERVE_GRAPH, graph_environment(directory, socket, places, child.files, child.port))
    child.serve(children.stopping)
    complain(f"  graph {config.name:<32} ready   {time.monotonic() - begun:.1f} s")
    return Graph(config, child, directory, sidecar)


def follow(graph: Graph, wanted: Configured, children: Children) -> None:
    """Have it serve something else, its sidecar first: a graph takes only what its sidecar knows."""
    before = graph.sidecar.config if graph.sidecar else None
    if wanted.features and graph.sidecar:
        graph.sidecar.tell(wanted.features)
    elif wanted.features:
        graph.sidecar = sidecars.start(wanted.features, graph.directory, graph.child, children)
    if wanted.graph == graph.config:
        return
    begun = time.monotonic()
    refused = _swap(graph, wanted.graph, children.stopping)
    if refused:
        if graph.sidecar and before:
            graph.sidecar.tell(before)
        raise StartFailed(f"graph {graph.config.name}: {refused}")
    complain(f"  graph {graph.config.name:<32} changed {time.monotonic() - begun:.1f} s")
    if graph.sidecar and not wanted.features:
        children.drop([graph.sidecar.child])
        graph.sidecar = None


def _swap(graph: Graph, config: GraphConfig, stopping: threading.Event) -> str | None:
    """Hand a running graph another configuration; why it was refused, None when it is served."""
    _write(config, graph.directory)
    deadline = time.monotonic() + SWAP_SECONDS
    with graph.child.client() as client:
        while time.monotonic() < deadline and not stopping.wait(POLL_SECONDS):
            if serving(client) == config.revision:
                graph.config = config
                return None
            refused = rejected(client)
            if refused:
                return refused
    return "it does not answer"


def _write(config: GraphConfig, directory: Path) -> None:
    """At once, so that the server never reads half a file."""
    written = directory / ".graph.json"
    written.write_text(json.dumps(config.dump()), encoding="utf-8")
    os.replace(written, directory / "graph.json")  # noqa: PTH105  atomic on purpose
