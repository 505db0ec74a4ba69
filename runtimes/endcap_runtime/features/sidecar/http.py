# SPDX-License-Identifier: Apache-2.0
"""HTTP/1.1 on a bare asyncio protocol: a third of what an ASGI server costs a request.

A lookup is a few hundred microseconds, most of them Redis and numpy, so the server around it has to cost next to
nothing. What it gives up is what a sidecar does not need: streaming, upgrades, TLS. What it keeps are the bounds on
head, body, time and number of connections, since the port of the probes is open to the cluster.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import NamedTuple, cast

import httptools

from endcap_runtime.asgi import Headers, Response, headers_of
from endcap_runtime.problems import CLOSE, MEDIA_TYPE, Problem

log = logging.getLogger("endcap.features")

MAX_HEAD_BYTES = 16 * 1024
MAX_HEADERS = 64
MAX_BODY_BYTES = 1024 * 1024
MAX_CONNECTIONS = 512
ARRIVAL_SECONDS = 10.0
_STATUS = {status.value: b"HTTP/1.1 %d %s\r\n" % (status, status.phrase.encode()) for status in HTTPStatus}


class Request(NamedTuple):
    """A whole request; header names are in lower case."""

    method: bytes
    path: bytes
    headers: Headers
    body: bytes
    keep_alive: bool = True


App = Callable[[Request], Awaitable[Response]]


class Connection(asyncio.Protocol):
    """One connection: requests are answered in the order in which they came, one at a time."""

    def __init__(self, app: App, open_connections: set[Connection]) -> None:
        self._app, self._open = app, open_connections
        self._loop = asyncio.get_running_loop()
        self._parser = httptools.HttpRequestParser(self)
        self._waiting: deque[Request | Problem] = deque()
        self._task: asyncio.Task[None] | None = None
        self._late: asyncio.TimerHandle | None = None
        self._arriving = False
        self._begin()

    def _begin(self) -> None:
        self._target = b""
        self._pairs: list[tuple[bytes, bytes]] = []
        self._head_bytes = self._body_bytes = 0
        self._body: list[bytes] = []

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        if len(self._open) >= MAX_CONNECTIONS:
            self._transport.abort()
            return
        self._open.add(self)

    def connection_lost(self, _exc: Exception | None) -> None:
        self._open.discard(self)
        self._arrived()
        if self._task is not None:
            self._task.cancel()

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserCallbackError as error:
            self._refuse(_cause(error))
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self._refuse(Problem(400, "The request is not HTTP/1.1 that this server reads.", (), CLOSE))
        if self._arriving and self._late is None:
            self._late = self._loop.call_later(ARRIVAL_SECONDS, self._too_slow)

    # httptools.HttpRequestParser

    def on_message_begin(self) -> None:
        self._arriving = True
        self._begin()

    def on_url(self, url: bytes) -> None:
        self._target += url
        self._bound_head(len(url))

    def on_header(self, name: bytes, value: bytes) -> None:
        self._pairs.append((name.lower(), value))
        self._bound_head(len(name) + len(value))

    def on_headers_complete(self) -> None:
        length = next((value for name, value in self._pairs if name == b"content-length"), b"0")
        if int(length) > MAX_BODY_BYTES:
            raise _too_large()

    def on_body(self, body: bytes) -> None:
        self._body.append(body)
        self._body_bytes += len(body)
        if self._body_bytes > MAX_BODY_BYTES:
            raise _too_large()

    def on_message_complete(self) -> None:
        self._arrived()
        self._waiting.append(self._message())
        if self._task is None:
            self._task = self._loop.create_task(self._answer_waiting())
        else:
            self._transport.pause_reading()

    def _bound_head(self, size: int) -> None:
        self._head_bytes += size
        if self._head_bytes > MAX_HEAD_BYTES or len(self._pairs) > MAX_HEADERS:
            raise Problem(431, "The head of the request is too large.", (), CLOSE)

    def _message(self) -> Request | Problem:
        try:
            headers = headers_of({"headers": self._pairs})
        except Problem as problem:
            return problem
        body = self._body[0] if len(self._body) == 1 else b"".join(self._body)
        return Request(
            self._parser.get_method(), self._target, headers, body, self._parser.should_keep_alive()
        )

    def _arrived(self) -> None:
        self._arriving = False
        if self._late is not None:
            self._late.cancel()
            self._late = None

    # answers

    async def _answer_waiting(self) -> None:
        while self._waiting:
            message = self._waiting.popleft()
            if not self._waiting:
                self._transport.resume_reading()
            if isinstance(message, Problem):
                self._write(refusal(message), keep_alive=False)
            else:
                self._write(await self._answer(message), keep_alive=message.keep_alive)
        self._task = None

    async def _answer(self, request: Request) -> Response:
        try:
            return await self._app(request)
        except Problem as problem:
            return refusal(problem)
        except Exception:
            log.exception("The sidecar failed")
            return refusal(Problem(500, "The feature sidecar failed; its log says how."))

    def _write(self, response: Response, *, keep_alive: bool) -> None:
        if self._transport.is_closing():
            return
        lines = [_STATUS[response.status], b"content-type: %s\r\n" % response.content_type]
        lines += [b"%s: %s\r\n" % pair for pair in response.headers]
        lines.append(b"content-length: %d\r\n\r\n" % len(response.body))
        self._transport.write(b"".join([*lines, response.body]))
        if not keep_alive or CLOSE in response.headers:
            self._transport.close()

    def _refuse(self, problem: Problem) -> None:
        """Answers what cannot be read on from, and ends the connection."""
        self._arrived()
        self._write(refusal(problem), keep_alive=False)

    def _too_slow(self) -> None:
        self._refuse(Problem(408, f"The request did not arrive within {ARRIVAL_SECONDS:g} s.", (), CLOSE))

    def close(self) -> None:
        self._transport.close()


def refusal(problem: Problem) -> Response:
    return Response(problem.status, problem.body(), MEDIA_TYPE, problem.headers)


def _too_large() -> Problem:
    return Problem(
        413, f"The body is larger than {MAX_BODY_BYTES} bytes: ask for fewer entities a request.", (), CLOSE
    )


def _cause(error: BaseException) -> Problem:
    """The problem that a callback raised, or that of a target or length that the parser took and we do not."""
    cause = error.__context__ or error.__cause__
    if isinstance(cause, Problem):
        return cause
    return Problem(400, "The head of the request is malformed.", (), CLOSE)
