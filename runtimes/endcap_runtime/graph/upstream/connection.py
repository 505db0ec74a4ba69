# SPDX-License-Identifier: Apache-2.0
"""One HTTP/1.1 connection to a model server, one exchange at a time.

A general-purpose client costs 100 µs and more a call, as much as the model itself; httptools on a bare asyncio protocol
costs a small part of that, and leaves the deadline, the limits and the abort in our hands.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import NamedTuple, cast

import httptools

_MAX_HEAD = 65_536


class Response(NamedTuple):
    """A whole response; header names are in lower case."""

    status: int
    headers: dict[bytes, bytes]
    body: bytes


class Lost(Exception):
    """The connection ended before the response did.

    stale: it had served before, and nothing of this response had come: the server closed it while it was idle.
    """

    def __init__(self, *, stale: bool) -> None:
        super().__init__("connection lost")
        self.stale = stale


class Garbled(Exception):
    """What came is not HTTP/1.1."""


class TooLarge(Exception):
    """The response is larger than a caller should hold in memory."""


class Connection(asyncio.Protocol):
    """Ends by itself, and then says so by `closed`: on any failure, and when the server wants it."""

    def __init__(self, limit: int, closed: Callable[[Connection], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._limit = limit
        self._closed = closed
        self._transport: asyncio.Transport | None = None
        self._parser = httptools.HttpResponseParser(self)
        self._waiter: asyncio.Future[Response] | None = None
        self._received = 0
        self._headers: dict[bytes, bytes] = {}
        self._in_body = False
        self._body: list[bytes] = []
        self.used = False  # whether it has served an exchange: then the server may have closed it meanwhile
        self.answered_at = 0.0  # by the clock of the loop
        self.retired = False  # whether it has reached its age: then it serves no other exchange

    async def exchange(self, request: bytes, deadline: float) -> Response:
        """The response to `request`, a whole message. Raises Lost, Garbled, TooLarge or TimeoutError.

        Cancelled, or failed in any way, it closes the connection, so that the server sees that nobody waits.
        """
        if self._transport is None:
            raise Lost(stale=self.used)
        waiter: asyncio.Future[Response] = self._loop.create_future()
        self._waiter = waiter
        timer = self._loop.call_at(deadline, self._fail, TimeoutError())
        self._transport.write(request)
        try:
            return await waiter
        except BaseException:
            self.abort()  # also when it is cancelled just after the answer came: nobody puts it back
            raise
        finally:
            timer.cancel()
            self._waiter, self.used = None, True

    @property
    def reusable(self) -> bool:
        return self._transport is not None and not self._transport.is_closing() and not self.retired

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def _fail(self, error: Exception) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_exception(error)
        self.abort()

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._received += len(data)
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self._fail(Garbled())
        if self._received > self._limit or (not self._in_body and self._received > _MAX_HEAD):
            self._fail(TooLarge())

    def connection_lost(self, _exc: Exception | None) -> None:
        self._fail(Lost(stale=self.used and not self._received))
        self._transport = None
        self._closed(self)

    # httptools.HttpResponseParser

    def on_message_begin(self) -> None:
        if self._waiter is None:
            self.abort()  # nobody asked: what follows would answer the wrong question

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers[name.lower()] = value

    def on_headers_complete(self) -> None:
        self._in_body = True
        length = self._headers.get(b"content-length", b"0")
        if int(length) > self._limit:
            self._fail(TooLarge())

    def on_body(self, body: bytes) -> None:
        self._body.append(body)

    def on_message_complete(self) -> None:
        status = self._parser.get_status_code()
        response = Response(
            status, self._headers, self._body[0] if len(self._body) == 1 else b"".join(self._body)
        )
        self._headers, self._body, self._in_body = {}, [], False
        if status >= 200:  # noqa: PLR2004 (an interim response, such as 100, goes before the answer)
            self._answer(response)

    def _answer(self, response: Response) -> None:
        waiter, self._waiter, self._received = self._waiter, None, 0
        if waiter is None or waiter.done():
            return
        self.answered_at = self._loop.time()
        waiter.set_result(response)
        if not self._parser.should_keep_alive():
            self.abort()
