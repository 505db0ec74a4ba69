# SPDX-License-Identifier: Apache-2.0
"""MGET over one bare connection: what a lookup waits for, at half the cost of a general client.

redis-py dials (TLS, credentials, database), and hands its transport over; from then on keys are packed once and
answers parsed by hiredis, with one copy between the socket and the states. Reads are pipelined, so one connection is
enough, and one attempt at a time is made to have it again.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from typing import Any, cast

import hiredis

from endcap_runtime.features.store import FAILURES, FeatureRedis, StoreUnavailable
from endcap_runtime.features.store.faults import unavailable

_BUFFER_BYTES = 512 * 1024
_MOST_PACKED = 131_072
ANSWER_SECONDS = 2.0
States = list[bytes | None]


class MgetConnection(asyncio.BufferedProtocol):
    """Answers in the order of the questions; the first thing that goes wrong ends it."""

    def __init__(self, packing: Packing) -> None:
        self._loop = asyncio.get_running_loop()
        self._packing = packing
        self._buffer = memoryview(bytearray(_BUFFER_BYTES))
        self._reader = hiredis.Reader()
        self._waiting: deque[asyncio.Future[States]] = deque()
        self._transport: asyncio.Transport | None = None
        self._late: asyncio.TimerHandle | None = None
        self._answers = 0

    @property
    def usable(self) -> bool:
        return self._transport is not None and not self._transport.is_closing()

    def ask(self, keys: Sequence[bytes]) -> asyncio.Future[States]:
        """Of a usable connection."""
        future: asyncio.Future[States] = self._loop.create_future()
        self._waiting.append(future)
        if self._late is None:
            self._late = self._loop.call_later(ANSWER_SECONDS, self._give_up, self._answers)
        cast(asyncio.Transport, self._transport).write(self._packing.mget(keys))
        return future

    def _give_up(self, answers: int) -> None:
        """Ends the connection when nothing was answered since; looks again while something waits."""
        self._late = None
        if self._waiting and answers == self._answers:
            self.abort()
        elif self._waiting:
            self._late = self._loop.call_later(ANSWER_SECONDS, self._give_up, self._answers)

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    # asyncio.BufferedProtocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def get_buffer(self, _sizehint: int) -> memoryview:
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        self._reader.feed(cast(Any, self._buffer), 0, nbytes)  # its stubs do not know of buffers
        try:
            while (answer := self._reader.gets()) is not False:
                self._answered(answer)
        except hiredis.ProtocolError:
            self.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        if self._late is not None:
            self._late.cancel()
        while self._waiting:
            _fail(self._waiting.popleft(), StoreUnavailable("connection", str(exc or "it was closed")))

    def _answered(self, answer: Any) -> None:
        if not self._waiting:
            self.abort()  # nobody asked: what follows would answer the wrong question
            return
        future = self._waiting.popleft()
        self._answers += 1
        if isinstance(answer, hiredis.ReplyError):
            _fail(future, unavailable(answer))
            self.abort()  # it may have lost its rights, or a replica its master: the next one is dialled anew
        elif not future.done():
            future.set_result(answer)


class Mget:
    """The reads of one store that is no cluster."""

    def __init__(self, redis: FeatureRedis) -> None:
        self._redis = redis
        self._connection: MgetConnection | None = None
        self._dialled: Any = None
        self._dialling = asyncio.Lock()
        self._packing = Packing()

    def read(self, keys: Sequence[bytes]) -> asyncio.Future[States]:
        """States in the order of the keys, or StoreUnavailable."""
        connection = self._connection
        if connection is not None and connection.usable:
            return connection.ask(keys)
        return asyncio.get_running_loop().create_task(self._read_anew(keys))

    async def _read_anew(self, keys: Sequence[bytes]) -> States:
        return await (await self._connected()).ask(keys)

    async def _connected(self) -> MgetConnection:
        async with self._dialling:
            if self._connection is None or not self._connection.usable:
                await self.aclose()
                self._connection = await self._dial()
        return self._connection

    async def _dial(self) -> MgetConnection:
        pool = self._redis.client.connection_pool
        dialled = pool.connection_class(**{**pool.connection_kwargs, "protocol": 2})
        try:
            await dialled.connect()
        except FAILURES as error:
            raise unavailable(error) from error
        self._dialled = dialled  # it would close the transport when it is collected
        transport, connection = dialled._writer.transport, MgetConnection(self._packing)  # noqa: SLF001 (tests/contract)
        transport.set_protocol(connection)
        connection.connection_made(transport)
        return connection

    async def aclose(self) -> None:
        if self._connection is not None:
            self._connection.abort()
        if self._dialled is not None:
            await self._dialled.disconnect(nowait=True)
        self._connection = self._dialled = None


class Packing:
    """Commands in the protocol of Redis; keys that were packed before are not packed again, since most come often."""

    def __init__(self) -> None:
        self._known: dict[bytes, bytes] = {}

    def mget(self, keys: Sequence[bytes]) -> bytes:
        """The whole command."""
        try:
            packed = list(map(self._known.__getitem__, keys))
        except KeyError:
            self._learn(keys)
            packed = list(map(self._known.__getitem__, keys))
        return b"".join([b"*%d\r\n$4\r\nMGET\r\n" % (len(keys) + 1), *packed])

    def _learn(self, keys: Sequence[bytes]) -> None:
        if len(self._known) + len(keys) > _MOST_PACKED:
            self._known.clear()
        self._known.update((key, b"$%d\r\n%b\r\n" % (len(key), key)) for key in keys)


def _fail(future: asyncio.Future[States], error: StoreUnavailable) -> None:
    if not future.done():
        future.set_exception(error)
