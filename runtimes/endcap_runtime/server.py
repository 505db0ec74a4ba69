# SPDX-License-Identifier: Apache-2.0
"""uvicorn's home: one process, one event loop, a strict parser, and an orderly end.

The kubelet already supervises the pod, so BentoML's own supervisor (70 MB) is not started; its service runs in
this process. The garbage collector is frozen after the model is loaded: a collection over a loaded model's
objects costs tens of milliseconds and finds nothing.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import time
from collections.abc import Mapping
from types import FrameType
from typing import NamedTuple, Self

import httptools
import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from endcap_runtime.asgi import App

log = logging.getLogger("endcap.server")

MAX_HEADERS = 64
MAX_HEAD_BYTES = 64 * 1024
ARRIVAL_SECONDS = 10.0
_END = b"content-length: 0\r\nconnection: close\r\n\r\n"
_TOO_LARGE = b"HTTP/1.1 431 Request Header Fields Too Large\r\n" + _END
_TOO_SLOW = b"HTTP/1.1 408 Request Timeout\r\n" + _END
_HEAD = b"HTTP/1.1 "
_INTERIM_HEAD = b"HTTP/1.1 1"


class Lifecycle:
    """Whether the server wants traffic: it does once `ready`, and no longer once it is draining."""

    def __init__(self) -> None:
        self.loaded = False
        self.draining = False

    @property
    def ready(self) -> bool:
        return self.loaded and not self.draining


class Binding(NamedTuple):
    """Where to listen and how to leave.

    After SIGTERM the server is unready but still answers for `drain` seconds, so that whoever routes to it
    notices first; requests in flight then have `grace` seconds to finish.
    """

    host: str = "0.0.0.0"  # noqa: S104 a pod's port is meant to be reached
    port: int = 8080
    drain: float = 1.0
    grace: int = 20

    @classmethod
    def of(cls, environ: Mapping[str, str]) -> Self:
        return cls(
            host=environ.get("ENDCAP_HOST", cls._field_defaults["host"]),
            port=int(environ.get("ENDCAP_PORT", cls._field_defaults["port"])),
            drain=float(environ.get("ENDCAP_DRAIN_SECONDS", cls._field_defaults["drain"])),
        )


def serve(app: App, binding: Binding, lifecycle: Lifecycle) -> None:
    """Serves until SIGTERM or SIGINT, then drains and returns."""
    config = uvicorn.Config(
        app,
        host=binding.host,
        port=binding.port,
        loop="uvloop",
        http=StrictProtocol,
        interface="asgi3",
        lifespan="on",
        ws="none",
        access_log=False,
        log_config=None,
        server_header=False,
        date_header=False,
        proxy_headers=False,
        timeout_keep_alive=75,
        timeout_graceful_shutdown=binding.grace,
    )
    gc.collect()
    gc.freeze()
    DrainingServer(config, binding.drain, lifecycle).run()


class DrainingServer(uvicorn.Server):
    """uvicorn's server, unready before it stops listening."""

    def __init__(self, config: uvicorn.Config, drain: float, lifecycle: Lifecycle) -> None:
        super().__init__(config)
        self._drain = drain
        self._lifecycle = lifecycle
        self._leave_at = float("inf")

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002 the signature is uvicorn's
        if self._lifecycle.draining:
            self.should_exit = True
        self._lifecycle.draining = True
        self._leave_at = time.monotonic() + self._drain

    async def on_tick(self, counter: int) -> bool:
        leave = await super().on_tick(counter)
        return leave or time.monotonic() >= self._leave_at


class OneWrite(asyncio.Transport):
    """A transport that sends the head of a response together with what follows it: one system call, not two."""

    def __init__(self, transport: asyncio.Transport) -> None:
        super().__init__()
        self._held = b""
        self._write = transport.write
        self._close = transport.close
        self.is_closing = transport.is_closing  # type: ignore[method-assign]
        self.get_extra_info = transport.get_extra_info  # type: ignore[method-assign]
        self.pause_reading = transport.pause_reading  # type: ignore[method-assign]
        self.resume_reading = transport.resume_reading  # type: ignore[method-assign]

    def write(self, data: bytes | bytearray | memoryview) -> None:
        whole = self._held + data
        if not self._held and whole.startswith(_HEAD) and not whole.startswith(_INTERIM_HEAD):
            self._held = whole
        else:
            self._held = b""
            self._write(whole)

    def flush(self) -> None:
        """Sends a head that nothing follows: the answer to HEAD."""
        if self._held:
            self._write(self._held)
            self._held = b""

    def close(self) -> None:
        self.flush()
        self._close()


class StrictProtocol(HttpToolsProtocol):
    """uvicorn's protocol with bounds on the head of a request and on its time, and only origin-form targets.

    A head that never ends would otherwise grow in memory, a body that never ends would keep its connection for
    good, and an absolute target could name another host than the Host header does.
    """

    _head_bytes = 0
    _arriving = False
    _late: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self._out = OneWrite(transport)
        super().connection_made(self._out)

    def connection_lost(self, exc: Exception | None) -> None:
        self._arrived()
        super().connection_lost(exc)

    def on_message_begin(self) -> None:
        self._arriving = True
        self._head_bytes = 0
        super().on_message_begin()

    def on_message_complete(self) -> None:
        self._arrived()
        super().on_message_complete()

    def on_response_complete(self) -> None:
        self._out.flush()
        super().on_response_complete()

    def on_headers_complete(self) -> None:
        if len(self.headers) > MAX_HEADERS or not self.url.startswith(b"/"):
            raise httptools.HttpParserError("refused head")
        super().on_headers_complete()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self._arriving:
            self._await_rest(len(data))

    def _await_rest(self, size: int) -> None:
        """Only a request that did not come in one piece gets a timer, and has its head measured."""
        if self._late is None:
            self._late = self.loop.call_later(ARRIVAL_SECONDS, self._refuse, _TOO_SLOW)
        self._head_bytes += size
        if self._head_bytes > MAX_HEAD_BYTES and "method" not in self.scope:
            self._refuse(_TOO_LARGE)

    def _arrived(self) -> None:
        self._arriving = False
        if self._late is not None:
            self._late.cancel()
            self._late = None

    def _refuse(self, answer: bytes) -> None:
        if not self.transport.is_closing():
            self.transport.write(answer)
            self.transport.close()


def writable_home(environ: dict[str, str] | os._Environ[str] = os.environ) -> None:
    """Points HOME at the temporary directory where the root is read-only, since libraries write below it."""
    home = environ.get("HOME", "/")
    if not os.access(home, os.W_OK):
        environ["HOME"] = environ.get("TMPDIR", "/tmp")  # noqa: S108 the pod's own emptyDir
