# SPDX-License-Identifier: Apache-2.0
"""Redis tells of writes: client-side caching in broadcast mode, over one connection of its own.

The connection redirects its tracking to itself and subscribes, so that prefixes and messages have one fate: while it
lives every write under the prefixes is told, and once it is lost `epoch` is 0 before anything else happens, and another
number when it is back. Whatever was read under an earlier epoch counts as unread. Silence is broken by a PING, so a
connection into the void is noticed within two seconds. RESP2, since that is what every Redis from 6 on speaks here.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from typing import Any

from endcap_runtime.features.store import FAILURES, FeatureRedis, StoreUnavailable

log = logging.getLogger("endcap.features")

CHANNEL = "__redis__:invalidate"
_SILENCE_SECONDS = 1.0
_PAUSE_SECONDS = 0.5


class Tracking:
    """`invalidate` is called with each key that was written."""

    def __init__(self, redis: FeatureRedis, invalidate: Callable[[bytes], None]) -> None:
        self._redis, self._invalidate = redis, invalidate
        self._prefixes: tuple[str, ...] = ()
        self._session: asyncio.Task[None] | None = None
        self._epochs = 0
        self.epoch = 0

    def want(self, prefixes: Iterable[str]) -> None:
        """The prefixes to be told of; another set begins another epoch."""
        wanted = tuple(sorted(set(prefixes)))
        if wanted != self._prefixes:
            self._prefixes, self.epoch = wanted, 0
            if self._session is not None:
                self._session.cancel()

    async def follow(self) -> None:
        """Runs until it is cancelled."""
        try:
            while True:
                self._session = asyncio.create_task(self._tracked())
                await asyncio.wait([self._session])
                await asyncio.sleep(_PAUSE_SECONDS)
        finally:
            self.epoch = 0
            if self._session is not None:
                self._session.cancel()

    async def _tracked(self) -> None:
        if not self._prefixes:
            return
        connection: Any = None
        try:
            pool = self._redis.client.connection_pool
            connection = pool.connection_class(**{**pool.connection_kwargs, "protocol": 2})
            await connection.connect()
            await self._listen(connection)
        except (StoreUnavailable, *FAILURES) as error:
            log.info("Redis does not tell of writes", extra={"reason": str(error) or type(error).__name__})
        finally:
            self.epoch = 0
            if connection is not None:
                await connection.disconnect(nowait=True)

    async def _listen(self, connection: Any) -> None:
        number = await _ask(connection, "CLIENT", "ID")
        prefixes = [part for prefix in self._prefixes for part in ("PREFIX", prefix)]
        await _ask(connection, "CLIENT", "TRACKING", "ON", "REDIRECT", number, "BCAST", *prefixes)
        await _ask(connection, "SUBSCRIBE", CHANNEL)
        self._begin()
        pinged = False
        while True:
            message = await connection.read_response(timeout=_SILENCE_SECONDS)
            if message is None and pinged:
                raise TimeoutError("silence")
            if pinged := message is None:
                await connection.send_command("PING")
            elif message[0] == b"message":
                self._told(message[2])

    def _begin(self) -> None:
        self._epochs += 1
        self.epoch = self._epochs

    def _told(self, keys: list[bytes] | None) -> None:
        """Written keys; None when the whole database was emptied."""
        if keys is None:
            self._begin()
        for key in keys or ():
            self._invalidate(key)


async def _ask(connection: Any, *command: Any) -> Any:
    await connection.send_command(*command)
    return await connection.read_response()
