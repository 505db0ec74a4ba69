# SPDX-License-Identifier: Apache-2.0
"""A feature sidecar on this machine: beside a graph or a model, reached on a UNIX socket, as in a pod."""

from __future__ import annotations

import json
import os
import time
from dataclasses import dataclass
from pathlib import Path

import httpx

from endcap_api.features_config import FeaturesConfig
from endcap_cli.run.children import Children
from endcap_cli.run.environment import SERVE_SIDECAR, sidecar_environment
from endcap_cli.run.process import Child, StartFailed, answers, reason_of, told
from endcap_cli.terminal import complain


@dataclass
class Sidecar:
    """`config` is what it was told last, in its `directory`."""

    config: FeaturesConfig
    child: Child
    directory: Path

    def tell(self, config: FeaturesConfig) -> None:
        """It watches its directory, so that nothing needs to be started again."""
        if config != self.config:
            write(config, self.directory)
            self.config = config


def start(config: FeaturesConfig, directory: Path, asking: Child, children: Children) -> Sidecar:
    """Beside the process that asks it. Blocks until it answers; raises StartFailed or Stopped."""
    begun, places = time.monotonic(), children.places
    child = children.new(f"features of {asking.label}", beside=asking)
    socket = places.socket(asking.port)
    write(config, directory)
    try:
        child.start(SERVE_SIDECAR, sidecar_environment(directory, socket, places, child.files, child.port))
        _serve(child, socket, children)
    except StartFailed:
        children.drop([child])
        raise
    complain(f"  {child.label:<38} ready   {time.monotonic() - begun:.1f} s")
    return Sidecar(config, child, directory)


def _serve(child: Child, socket: Path, children: Children) -> None:
    """Ready is told on its port; why it refuses its configuration, on its socket, where nothing listens at first."""
    transport = httpx.HTTPTransport(uds=str(socket))
    with child.client() as port, httpx.Client(transport=transport, base_url="http://features") as asked:
        child.until(children.stopping, lambda: answers(port, "/readyz"), lambda: _rejected(asked))


def _rejected(client: httpx.Client) -> str | None:
    return reason_of(told(client, "/v1/bundles"))


def write(config: FeaturesConfig, directory: Path) -> None:
    """At once, so that nobody ever reads half a file."""
    directory.mkdir(parents=True, exist_ok=True)
    written = directory / ".features.json"
    written.write_text(json.dumps(config.dump()), encoding="utf-8")
    os.replace(written, directory / "features.json")  # noqa: PTH105  atomic on purpose
