# SPDX-License-Identifier: Apache-2.0
"""Puts the graph server together: configuration, engine, front, BentoML."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple, Protocol

from endcap_runtime import bento
from endcap_runtime.artefacts import Policy
from endcap_runtime.asgi import App, Receive, Scope, Send
from endcap_runtime.graph.app import GraphApp
from endcap_runtime.graph.configuration import Configuration
from endcap_runtime.graph.experiments.forcing import ForceKey
from endcap_runtime.graph.exposures import Exposures
from endcap_runtime.graph.following import following
from endcap_runtime.graph.handshake import Handshake
from endcap_runtime.graph.loading import Loader
from endcap_runtime.graph.metrics import GraphMetrics
from endcap_runtime.graph.serving import Serving
from endcap_runtime.graph.shadow import Shadows
from endcap_runtime.graph.sidecar import SOCKET, Records, Sidecar
from endcap_runtime.graph.upstream import Models
from endcap_runtime.observability.metrics import registry
from endcap_runtime.server import Lifecycle


class Built(NamedTuple):
    """An ASGI app that is ready to be served; it follows its configuration while it runs."""

    app: App
    lifecycle: Lifecycle
    serving: Serving


def build(environ: Mapping[str, str]) -> Built:
    """Reads the environment of docs/contracts.md; nothing is loaded before the app starts."""
    lifecycle, serving, counted = Lifecycle(), Serving(), registry()
    metrics, models = GraphMetrics(counted), Models()
    sidecar = Sidecar(environ.get("ENDCAP_FEATURES_SOCKET", SOCKET))
    records, exposures, shadows = Records(sidecar), Exposures(), Shadows(metrics)
    loader = Loader(_policy(environ), models, metrics, sidecar)
    directory = Path(environ.get("ENDCAP_GRAPH_DIR", "/etc/endcap/graph"))
    configuration = Configuration(directory, loader.load, Handshake(sidecar), serving, lifecycle)
    key = ForceKey(Path(environ.get("ENDCAP_FORCE_DIR", "/etc/endcap/force")) / "forceKey")
    after = following(exposures, shadows)
    engine = GraphApp(serving, metrics, counted, lifecycle, records, force_key=key, after=after)
    closing = (records, exposures, shadows, sidecar, models)

    def front(native: App, _submit: bento.Submit | None) -> App:
        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            # BentoML runs the server; its own pages describe a service without an API, so none of them is shown.
            if scope["type"] == "http":
                await engine(scope, receive, send)
            elif scope["type"] == "lifespan":
                async with _following(configuration, closing):
                    await native(scope, receive, send)
            else:
                await native(scope, receive, send)

        return app

    return Built(bento.service("graph", front, lambda: lifecycle.ready).to_asgi(), lifecycle, serving)


class _Closes(Protocol):
    async def aclose(self) -> None: ...


@asynccontextmanager
async def _following(configuration: Configuration, closing: Sequence[_Closes]) -> AsyncIterator[None]:
    """At the end what still sends goes first, and the connections that it may need last."""
    follower = asyncio.create_task(configuration.follow())
    try:
        yield
    finally:
        follower.cancel()
        with suppress(asyncio.CancelledError):
            await follower
        for each in closing:
            await each.aclose()


def _policy(environ: Mapping[str, str]) -> Policy:
    """One attempt a fetch: a newer revision must not wait behind the retries of an older one."""
    policy = Policy.from_environment(environ)
    return replace(policy, limits=replace(policy.limits, attempts=1))
