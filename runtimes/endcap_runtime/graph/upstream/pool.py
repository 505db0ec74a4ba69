# SPDX-License-Identifier: Apache-2.0
"""The connections to one origin.

Idle ones are taken in turn, oldest use first, so that all replicas behind a Service share even sequential calls; each
has a maximum age, so that new replicas get their part. There are at most as many as there are calls at once, which the
graph's own concurrency limit bounds.
"""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from endcap_runtime.graph.upstream.connection import Connection, Lost
from endcap_runtime.graph.upstream.failures import UpstreamFailed

Factory = Callable[[], Connection]


class Origin(NamedTuple):
    """Where a model server listens."""

    host: str
    port: int

    async def dial(self, factory: Factory) -> Connection:
        """Raises OSError."""
        _, connection = await asyncio.get_running_loop().create_connection(factory, self.host, self.port)
        return connection


class Socket(NamedTuple):
    """Where a process of the same pod listens."""

    path: str

    async def dial(self, factory: Factory) -> Connection:
        """Raises OSError."""
        _, connection = await asyncio.get_running_loop().create_unix_connection(factory, self.path)
        return connection


class Pool:
    """Connections to an origin; `limit` is the largest response in bytes, `max_age` in seconds."""

    def __init__(self, origin: Origin | Socket, limit: int, max_age: float) -> None:
        self._origin = origin
        self._limit = limit
        self._max_age = max_age
        self._idle: deque[Connection] = deque()
        self._open: dict[Connection, asyncio.TimerHandle] = {}
        self._closed = False
        self.refusals = 0  # dials refused in a row, with no answer between

    def __len__(self) -> int:
        """How many connections are open."""
        return len(self._open)

    def idle(self) -> Connection | None:
        """A connection that is ready for an exchange, if there is one."""
        while self._idle:
            connection = self._idle.popleft()
            if connection.reusable:
                return connection
        return None

    async def dial(self) -> Connection:
        """A new connection. Raises OSError, or Lost when it was closed at once, or UpstreamFailed after `close`."""
        if self._closed:
            raise UpstreamFailed("refused", "is asked no more: the graph is shutting down")
        try:
            connection = await self._origin.dial(lambda: Connection(self._limit, self._forget))
        except OSError:
            self.refusals += 1
            raise
        if not connection.reusable:
            raise Lost(stale=False)
        # Between half the age and all of it, lest a fleet that was dialled together is dialled anew together.
        age = self._max_age * random.uniform(0.5, 1.0)  # noqa: S311 (no secret)
        self._open[connection] = asyncio.get_running_loop().call_later(age, self._retire, connection)
        return connection

    def put_back(self, connection: Connection) -> None:
        """The exchange is over, and the connection may serve another."""
        self.refusals = 0
        if connection.reusable:
            self._idle.append(connection)
        else:
            connection.abort()

    def suspect(self, before: float) -> None:
        """A server did not answer in time: idle connections that have not answered since `before` may be as dead."""
        for connection in [each for each in self._idle if each.answered_at < before]:
            connection.abort()

    def close(self) -> None:
        """Close every connection, for good; exchanges in flight fail."""
        self._closed = True
        for connection in list(self._open):
            connection.abort()

    def _retire(self, connection: Connection) -> None:
        """At its age a connection is closed: at once when idle, else after its exchange."""
        connection.retired = True
        if connection in self._idle:
            self._idle.remove(connection)
            connection.abort()

    def _forget(self, connection: Connection) -> None:
        if timer := self._open.pop(connection, None):
            timer.cancel()
        if connection in self._idle:
            self._idle.remove(connection)
