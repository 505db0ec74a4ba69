# SPDX-License-Identifier: Apache-2.0
"""A stream and its consumer group: what is new, what a consumer holds, what another has left lying."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from endcap_runtime.features.store import StoreUnavailable
from endcap_runtime.features.store.calls import Calls

GROUP = b"endcap"
Fields = Mapping[bytes, bytes]


class Entry(NamedTuple):
    """What waits: its id in the stream, its bytes, and the one reader that it is for, where it is for one."""

    id: bytes
    event: bytes
    view: str

    @property
    def arrival_ms(self) -> int:
        return milliseconds_of(self.id)


def milliseconds_of(entry_id: bytes) -> int:
    return int(entry_id.split(b"-", 1)[0])


class Group:
    """Every call raises StoreUnavailable."""

    def __init__(self, calls: Calls, stream: bytes) -> None:
        self._calls, self._stream = calls, stream

    async def read(self, consumer: str, after: bytes, count: int, block_ms: int | None = None) -> list[Entry]:
        """New entries (after b">"), or those that this consumer already holds (after an id)."""
        waiting = () if block_ms is None else ("BLOCK", block_ms)
        head = ("XREADGROUP", "GROUP", GROUP, consumer, "COUNT", count, *waiting)
        answer = await self._grouped(*head, "STREAMS", self._stream, after)
        if not answer:
            return []
        ((_, rows),) = answer.items() if isinstance(answer, dict) else answer
        return [_entry(row) for row in rows]

    async def claim(self, consumer: str, idle_ms: int, count: int) -> list[Entry]:
        """Takes over what another consumer has left lying for so long."""
        command = ("XAUTOCLAIM", self._stream, GROUP, consumer, idle_ms, "0-0", "COUNT", count)
        answer = await self._grouped(*command)
        return [_entry(row) for row in answer[1]]

    async def take_up(self, consumer: str, count: int) -> list[Entry]:
        """Takes those of the oldest that were given out and that nobody holds: the group forgot who had them."""
        return [_entry(row) for row in await self._calls.function("take_up", [self._stream], consumer, count)]

    async def page(
        self, stream: bytes, after: bytes | None, count: int, last: bytes = b"+"
    ) -> list[tuple[bytes, Fields]]:
        """Entries of a stream after an id and up to another, oldest first."""
        start = b"-" if after is None else b"(" + after
        rows = await self._calls.command("XRANGE", stream, start, last, "COUNT", count)
        return [(row[0], fields_of(row[1])) for row in rows]

    async def last(self, stream: bytes) -> bytes | None:
        rows = await self._calls.command("XREVRANGE", stream, "+", "-", "COUNT", 1)
        return rows[0][0] if rows else None

    async def prune(self, idle_ms: int) -> None:
        """Forgets consumers that hold nothing and were not heard of for so long."""
        await self._calls.function("prune", [self._stream], idle_ms)

    async def _grouped(self, *command: Any) -> Any:
        """A command on the consumer group, which is made where it is missing: in a new or an emptied Redis."""
        try:
            return await self._calls.command(*command)
        except StoreUnavailable as error:
            if not error.message.startswith("NOGROUP"):
                raise
        await self._make_group()
        return await self._calls.command(*command)

    async def _make_group(self) -> None:
        try:
            await self._calls.command("XGROUP", "CREATE", self._stream, GROUP, "0", "MKSTREAM")
        except StoreUnavailable as error:
            if not error.message.startswith("BUSYGROUP"):
                raise


def _entry(row: Any) -> Entry:
    """An entry that was deleted while a consumer held it has no fields."""
    fields = fields_of(row[1] or [])
    return Entry(row[0], fields.get(b"e", b""), fields.get(b"view", b"").decode(errors="replace"))


def fields_of(given: Any) -> Fields:
    if isinstance(given, dict):
        return given
    return dict(zip(given[::2], given[1::2], strict=True))
