# SPDX-License-Identifier: Apache-2.0
"""A graph on this machine: its configuration in a folder that its server watches, as in a pod."""

from __future__ import annotations

import json
import os
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import httpx

from endcap_api.runtime_config import GraphConfig
from endcap_cli.bundle import Name
from endcap_cli.run.environment import SERVE_GRAPH, Places, graph_environment
from endcap_cli.run.process import POLL_SECONDS, Child, rejected, revision
from endcap_cli.terminal import complain

SWAP_SECONDS = 30.0


@dataclass
class Graph:
    """`config` is what the server serves, not what was last asked for."""

    config: GraphConfig
    child: Child
    directory: Path

    @property
    def url(self) -> str:
        return f"{self.child.url}{self.config.spec.api.path}"


def start(config: GraphConfig, places: Places, child: Child, stopping: threading.Event) -> Graph:
    """Blocks until the graph serves; raises StartFailed or Stopped."""
    begun = time.monotonic()
    directory = places.graph(Name(config.namespace, config.name))
    directory.mkdir(parents=True, exist_ok=True)
    _write(config, directory)
    child.start(SERVE_GRAPH, graph_environment(directory, places, child.files, child.port))
    child.serve(stopping)
    complain(f"  graph {config.name:<32} ready   {time.monotonic() - begun:.1f} s")
    return Graph(config, child, directory)


def swap(graph: Graph, config: GraphConfig, stopping: threading.Event) -> str | None:
    """Hand a running graph another configuration; why it was refused, None when it is served."""
    _write(config, graph.directory)
    deadline = time.monotonic() + SWAP_SECONDS
    with httpx.Client(base_url=graph.child.url, timeout=1.0, trust_env=False) as client:
        while time.monotonic() < deadline and not stopping.wait(POLL_SECONDS):
            if revision(client).get("serving") == config.revision:
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
