# SPDX-License-Identifier: Apache-2.0
"""The sidecar put together: configuration, stores, two listeners, and an orderly end.

The kubelet ends a native sidecar after the containers beside it, but nothing makes a graph's last lookups wait for
that: so after SIGTERM the socket stays open until nobody is connected to it, and the records that wait are written.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import signal
import socket
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, Self

from endcap_runtime.features.lookup import Lookups
from endcap_runtime.features.lookup.metrics import LookupMetrics
from endcap_runtime.features.lookup.source import NearSettings
from endcap_runtime.features.sidecar.app import PortApp, SocketApp
from endcap_runtime.features.sidecar.configuration import Configuration
from endcap_runtime.features.sidecar.http import App, Connection
from endcap_runtime.features.sidecar.records import Records
from endcap_runtime.features.sidecar.stores import Stores
from endcap_runtime.observability.metrics import registry
from endcap_runtime.server import Lifecycle

log = logging.getLogger("endcap.features")

_RECORDS_SECONDS = 3.0
_LOOK_SECONDS = 0.5

Listening = Coroutine[Any, Any, asyncio.Server]


class Settings(NamedTuple):
    """docs/contract-features.md has the variables. `drain` and `grace` in seconds: least and most after SIGTERM."""

    directory: Path
    socket: Path
    secrets: Path
    host: str
    port: int
    near: NearSettings
    drain: float
    grace: float

    @classmethod
    def of(cls, environ: Mapping[str, str]) -> Self:
        near = NearSettings()
        return cls(
            directory=Path(environ.get("ENDCAP_FEATURES_DIR", "/etc/endcap/features")),
            socket=Path(environ.get("ENDCAP_FEATURES_SOCKET", "/run/endcap/features.sock")),
            secrets=Path(environ.get("ENDCAP_SECRETS_DIR", "/etc/endcap/secrets")),
            host=environ.get("ENDCAP_HOST", "0.0.0.0"),  # noqa: S104 a pod's port is meant to be reached
            port=int(environ.get("ENDCAP_PORT", "8081")),
            near=NearSettings(
                int(environ.get("ENDCAP_NEAR_CACHE_BYTES", near.most_bytes)),
                float(environ.get("ENDCAP_STALE_SECONDS", near.stale_seconds)),
            ),
            drain=float(environ.get("ENDCAP_DRAIN_SECONDS", "1")),
            grace=float(environ.get("ENDCAP_GRACE_SECONDS", "20")),
        )


async def serve(settings: Settings) -> None:
    """Until SIGTERM or SIGINT."""
    lifecycle, counted = Lifecycle(), registry()
    lookups = Lookups(LookupMetrics(counted))
    stores = Stores(lookups, settings.secrets, settings.near)
    records = Records(stores.sources, counted)
    configuration = Configuration(settings.directory, stores.take)
    app = SocketApp(lookups, configuration, records)
    async with (
        _listening_port(PortApp(lifecycle, configuration, counted), settings),
        _listening_socket(app, settings.socket) as connected,
        _running(configuration.follow(), records.work(), _announce(configuration, lifecycle)),
    ):
        await _signalled()
        lifecycle.draining = True
        await _deserted(connected, settings)
        await records.drained(_RECORDS_SECONDS)
    await stores.close()


async def _announce(configuration: Configuration, lifecycle: Lifecycle) -> None:
    """Ready once a revision serves; what was loaded by then is never garbage."""
    await configuration.serving.wait()
    gc.collect()
    gc.freeze()
    lifecycle.loaded = True


async def _signalled() -> None:
    ended = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    await ended.wait()


async def _deserted(connected: set[Connection], settings: Settings) -> None:
    """After `drain` seconds and until nobody is connected, but for `grace` seconds at most."""
    clock = asyncio.get_running_loop().time
    began = clock()
    while (passed := clock() - began) < settings.grace and (  # noqa: ASYNC110 (an end may be polled for)
        passed < settings.drain or connected
    ):
        await asyncio.sleep(0.02)


@asynccontextmanager
async def _running(*coroutines: object) -> AsyncIterator[None]:
    tasks = [asyncio.ensure_future(each) for each in coroutines]  # type: ignore[call-overload]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@asynccontextmanager
async def _listening_socket(app: App, path: Path) -> AsyncIterator[set[Connection]]:
    """Open to whoever shares the directory: the containers of the pod have users of their own.

    A socket without its file can be reached by nobody, and no probe would tell: it is bound anew.
    """
    connected: set[Connection] = set()
    loop = asyncio.get_running_loop()
    listen = partial(loop.create_unix_server, lambda: Connection(app, connected))
    servers = [await listen(sock=_bound(path))]
    try:
        async with _running(_kept(path, servers, listen)):
            yield connected
    finally:
        _close(servers[0], connected)


async def _kept(path: Path, servers: list[asyncio.Server], listen: Callable[..., Listening]) -> None:
    while True:
        await asyncio.sleep(_LOOK_SECONDS)
        if _deleted(path):
            log.warning("The socket's file was deleted: it is bound anew", extra={"socket": str(path)})
            servers[0].close()
            servers[0] = await listen(sock=_bound(path))


def _deleted(path: Path) -> bool:
    return not path.exists()


def _bound(path: Path) -> socket.socket:
    with suppress(FileNotFoundError):
        path.unlink()  # of a container that was killed
    path.parent.mkdir(parents=True, exist_ok=True)
    bound = socket.socket(socket.AF_UNIX)
    bound.bind(str(path))
    path.chmod(0o666)
    return bound


@asynccontextmanager
async def _listening_port(app: App, settings: Settings) -> AsyncIterator[None]:
    connected: set[Connection] = set()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Connection(app, connected), settings.host, settings.port)
    try:
        yield
    finally:
        _close(server, connected)


def _close(server: asyncio.Server, connected: set[Connection]) -> None:
    server.close()
    for connection in list(connected):
        connection.close()
