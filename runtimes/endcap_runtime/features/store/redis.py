# SPDX-License-Identifier: Apache-2.0
"""A store, single or a cluster: reads, updates, rows and time. Every failure is StoreUnavailable."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Any, Protocol, Self

from redis import exceptions
from redis.asyncio import Redis, RedisCluster
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from endcap_api.features_config import StoreConfig
from endcap_runtime.features.layout import Update
from endcap_runtime.features.layout.keys import PARTITIONS
from endcap_runtime.features.layout.updates import MINUTE_MS, expiry_ms
from endcap_runtime.features.store.credentials import SecretFolder
from endcap_runtime.features.store.faults import StoreUnavailable, unavailable
from endcap_runtime.features.store.library import LIBRARY, Library

CONNECT_SECONDS = 1.0
ANSWER_SECONDS = 5.0
AT_ONCE = 32  # calls; who makes one more waits, so that a store that comes back is not stormed
FAILURES = (exceptions.RedisError, exceptions.RedisClusterException, OSError, asyncio.TimeoutError)
MINUTES_AT_ONCE = 256

Command = tuple[Any, ...]
Row = tuple[bytes, bytes, int, int]


class Outcome(StrEnum):
    """What became of an event."""

    APPLIED = "APPLIED"
    DUPLICATE = "DUPLICATE"
    LATE = "LATE"
    FUTURE = "FUTURE"


class FunctionCall(Protocol):
    """A function of the library; its keys lie in one part of the store."""

    @property
    def function(self) -> str: ...
    @property
    def keys(self) -> Sequence[bytes]: ...
    @property
    def arguments(self) -> Sequence[bytes]: ...


class Remembering(Protocol):
    """Who keeps ids of events by minute: a view, an experiment. Name and digest say whose they are."""

    @property
    def name(self) -> str: ...
    @property
    def digest(self) -> str: ...
    @property
    def keep_ms(self) -> int: ...
    def seen_key(self, tag: bytes, time_ms: int, /) -> bytes: ...


class FeatureRedis:
    """`client` is redis-py's, for streams and the like."""

    def __init__(self, client: Any, prefix: str, *, cluster: bool, library: Library = LIBRARY) -> None:
        self.client = client
        self._prefix = prefix.encode()
        self._forgotten = self._prefix + b":forgotten"
        self._cluster = cluster
        self._library = library
        self._turns = asyncio.Semaphore(AT_ONCE)

    @classmethod
    async def open(cls, config: StoreConfig, secrets: Path, library: Library = LIBRARY) -> Self:
        """Connects with the first call, not now: a store that is away is asked again by who needs it."""
        options = _options(config, secrets)
        kind: Any = RedisCluster if config.cluster else Redis
        return cls(
            kind.from_url(config.url, **options), config.prefix, cluster=config.cluster, library=library
        )

    async def aclose(self) -> None:
        await self.client.aclose()

    async def read(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """The states of the keys, None for what is not there; raises StoreUnavailable."""
        if not keys:
            return []
        if self._cluster:
            return await self._pipelined([("GET", key) for key in keys])
        states: list[bytes | None] = await self._asked(self.client.execute_command, "MGET", *keys)
        return states

    async def apply(self, updates: Sequence[Update]) -> list[Outcome]:
        """Each is atomic, in order. After StoreUnavailable some may be applied: apply them again, it does no harm."""
        calls = [
            (
                self._library.function(update.function),
                2,
                update.state,
                update.seen,
                update.event,
                update.change,
            )
            for update in updates
        ]
        return [Outcome(answer.decode()) for answer in await self._called(calls)]

    async def put(self, rows: Sequence[Row]) -> list[bool]:
        """Rows of key, row, time and ttl in ms; False: what is there is not older. Raises StoreUnavailable."""
        put = self._library.function("put")
        calls = [(put, 1, key, row, at, at + expiry_ms(ttl)) for key, row, at, ttl in rows]
        return [bool(answer) for answer in await self._called(calls)]

    async def run(self, calls: Sequence[FunctionCall]) -> list[Any]:
        """What each answers, in order; each is atomic. After StoreUnavailable some may have run."""
        return await self._called(
            [
                (self._library.function(call.function), len(call.keys), *call.keys, *call.arguments)
                for call in calls
            ]
        )

    async def hashes(self, keys: Sequence[bytes]) -> list[dict[bytes, bytes]]:
        """Whole hashes, empty where there is none; one round trip, of a cluster one a node."""
        answers = await self._pipelined([("HGETALL", key) for key in keys])
        return [
            answer if isinstance(answer, dict) else dict(zip(answer[::2], answer[1::2], strict=True))
            for answer in answers
        ]

    async def now_ms(self) -> int:
        """Redis' clock; of a cluster that of the node that says when an event arrived."""
        seconds, micros = await self._asked(self._time_of_arrivals if self._cluster else self.client.time)
        return int(seconds) * 1000 + int(micros) // 1000

    async def _time_of_arrivals(self) -> tuple[int, int]:
        await self.client.initialize()
        node = self.client.get_node_from_key(self._prefix + b":events")
        seconds, micros = await self.client.time(target_nodes=node)
        return seconds, micros

    async def forget_seen(self, views: Iterable[Remembering], before_ms: int) -> None:
        """Removes the ids of events of all minutes that ended before then, since the last time that was asked."""
        minute = before_ms // MINUTE_MS
        for view in views:
            field = f"{view.name}@{view.digest}"
            last = await self._asked(self.client.hget, self._forgotten, field)
            # However long nobody asked, what is older has expired by itself.
            start = max(int(last), minute - 2 * view.keep_ms // MINUTE_MS) if last else minute
            for first in range(start, minute, MINUTES_AT_ONCE):
                await self._forget(view, range(first, min(first + MINUTES_AT_ONCE, minute)))
            if last is None:
                await self._asked(self.client.hset, self._forgotten, field, str(minute))

    async def _forget(self, view: Remembering, minutes: range) -> None:
        tags = [b"{%d}" % part for part in range(PARTITIONS)]
        await self._pipelined(
            [("UNLINK", *(view.seen_key(tag, minute * MINUTE_MS) for minute in minutes)) for tag in tags]
        )
        done = f"{view.name}@{view.digest}", str(minutes.stop)
        await self._asked(self.client.hset, self._forgotten, *done)

    async def _called(self, calls: Sequence[Command]) -> list[Any]:
        if not calls:
            return []
        commands = [("FCALL", *call) for call in calls]
        answers = await self._pipelined(commands, whole=False)
        missing = [i for i, answer in enumerate(answers) if _is_missing(answer)]
        if missing:
            await self._load()
            again = await self._pipelined([commands[i] for i in missing], whole=False)
            for i, answer in zip(missing, again, strict=True):
                answers[i] = answer
        for answer in answers:
            if isinstance(answer, BaseException):
                raise unavailable(answer)
        return answers

    async def _load(self) -> None:
        await self._asked(self.client.function_load, self._library.code, replace=True)

    async def _pipelined(self, commands: Sequence[Command], *, whole: bool = True) -> list[Any]:
        """Answers in order; with `whole` one that failed fails all."""
        pipeline = self.client.pipeline() if self._cluster else self.client.pipeline(transaction=False)
        for command in commands:
            pipeline.execute_command(*command)
        answers: list[Any] = await self._asked(pipeline.execute, raise_on_error=False)
        for answer in answers if whole else ():
            if isinstance(answer, BaseException):
                raise unavailable(answer)
        return answers

    async def _asked(self, ask: Callable[..., Awaitable[Any]], *arguments: Any, **options: Any) -> Any:
        try:
            async with self._turns:
                return await ask(*arguments, **options)
        except FAILURES as error:
            raise unavailable(error) from error


def _is_missing(answer: object) -> bool:
    return isinstance(answer, exceptions.ResponseError) and "Function not found" in str(answer)


def _options(config: StoreConfig, secrets: Path) -> dict[str, Any]:
    options: dict[str, Any] = {
        "socket_connect_timeout": CONNECT_SECONDS,
        "socket_timeout": ANSWER_SECONDS,
        # Redis was started again: the connection is gone, and the next one does. What was slow is not asked twice.
        "retry": Retry(NoBackoff(), 1, (exceptions.ConnectionError,)),
    }
    if config.secret is not None:
        folder = secrets / config.secret
        options["credential_provider"] = SecretFolder(folder)
        if (authority := folder / "ca.crt").is_file() and config.url.startswith("rediss://"):
            options["ssl_ca_certs"] = str(authority)
    return options


__all__ = ["FeatureRedis", "Outcome", "StoreUnavailable"]
