# SPDX-License-Identifier: Apache-2.0
"""Puts the ingest pod together: configuration, worker, upkeep, front."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from endcap_runtime.asgi import App, Receive, Scope, Send
from endcap_runtime.features.ingest.app import Doors, IngestApp
from endcap_runtime.features.ingest.compiled import Compiled
from endcap_runtime.features.ingest.configuration import Configuration
from endcap_runtime.features.ingest.door import Door
from endcap_runtime.features.ingest.experiments.door import ExposureDoor
from endcap_runtime.features.ingest.experiments.worker import ExposureWorker
from endcap_runtime.features.ingest.metrics import IngestMetrics
from endcap_runtime.features.ingest.serving import Current
from endcap_runtime.features.ingest.upkeep import Upkeep
from endcap_runtime.features.ingest.worker import Worker
from endcap_runtime.observability.metrics import registry
from endcap_runtime.server import Lifecycle

LEAVE_SECONDS = 5.0


class Built(NamedTuple):
    """An ASGI app that is ready to be served; it follows its configuration while it runs."""

    app: App
    lifecycle: Lifecycle


def build(environ: Mapping[str, str]) -> Built:
    """Reads the environment of docs/contract-features.md; nothing is connected before the app starts."""
    lifecycle, counted = Lifecycle(), registry()
    metrics = IngestMetrics(counted)
    current = Current(
        Path(environ.get("ENDCAP_SECRETS_DIR", "/etc/endcap/secrets")),
        Path(environ.get("ENDCAP_UNIT_KEY_DIR", "/etc/endcap/unit-key")),
    )

    async def changed(compiled: Compiled) -> None:
        await current.take(compiled)
        lifecycle.loaded = True

    directory = Path(environ.get("ENDCAP_FEATURES_DIR", "/etc/endcap/features"))
    configuration = Configuration(directory, changed)
    consumer = environ.get("HOSTNAME") or socket.gethostname()
    workers = [kind(current, metrics, consumer) for kind in (Worker, ExposureWorker)]
    upkeep = Upkeep(current, metrics)
    doors = Doors(Door(metrics), ExposureDoor(metrics))
    engine = IngestApp(current, configuration, doors, counted, lifecycle)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await engine(scope, receive, send)
            return
        await receive()  # lifespan.startup
        working = [asyncio.create_task(worker.run()) for worker in workers]
        others = [asyncio.create_task(configuration.follow()), asyncio.create_task(upkeep.run())]
        await send({"type": "lifespan.startup.complete"})
        await receive()  # lifespan.shutdown
        for worker in workers:
            worker.leave()
        await _ended(working, LEAVE_SECONDS)
        await _ended(others, 0)
        await current.close()
        await send({"type": "lifespan.shutdown.complete"})

    return Built(app, lifecycle)


async def _ended(tasks: Sequence[asyncio.Task[None]], seconds: float) -> None:
    """Gives tasks their time to end by themselves, then cancels them."""
    _, late = await asyncio.wait(tasks, timeout=seconds)
    for task in late:
        task.cancel()
    if late:
        await asyncio.wait(late, timeout=1)
