# SPDX-License-Identifier: Apache-2.0
"""The streams of one store: what waits, what was refused, what was served, and what is known of each view.

Redis runs a function on keys of one slot, and events, dead letters and counts change together; so the keys of the
last two carry the first one's name as their hash tag.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import Any, NamedTuple

from endcap_runtime.features.store import FeatureRedis, StoreUnavailable
from endcap_runtime.features.store.calls import Calls
from endcap_runtime.features.store.counts import TEXT, Added, Counts, arguments_of
from endcap_runtime.features.store.library import Library, library_of

GROUP = b"endcap"
LIBRARY = library_of(TEXT + (files(__package__) / "ingest.lua").read_text(encoding="utf-8"))


class Entry(NamedTuple):
    """What waits: its id in the stream, the event's bytes, and the one view that it is for, where it is for one."""

    id: bytes
    event: bytes
    view: str

    @property
    def arrival_ms(self) -> int:
        return milliseconds_of(self.id)


class Letter(NamedTuple):
    """Why an entry is refused, by a view ("": by all)."""

    entry: Entry
    reason: str
    message: str
    view: str


class Pulse(NamedTuple):
    """How the stream stands: Redis' clock, the arrival of the first that waits, and two lengths."""

    now_ms: int
    first_ms: int | None
    backlog: int
    dead_letters: int

    @property
    def lag_ms(self) -> int:
        return 0 if self.first_ms is None else max(0, self.now_ms - self.first_ms)

    @property
    def horizon_ms(self) -> int:
        """No event arrives, or is still to be applied, with an earlier arrival."""
        return self.now_ms if self.first_ms is None else self.first_ms


Fields = Mapping[bytes, bytes]


def milliseconds_of(entry_id: bytes) -> int:
    return int(entry_id.split(b"-", 1)[0])


class Streams:
    """Every call raises StoreUnavailable; `prefix` begins the keys."""

    def __init__(self, redis: FeatureRedis, prefix: str, library: Library = LIBRARY) -> None:
        self._redis, self._calls = redis, Calls(redis.client, library)
        self.counts = Counts(redis, prefix)
        self.events = f"{prefix}:events".encode()
        self.served = f"{prefix}:served".encode()
        self.dead = f"{prefix}:dead{{{prefix}:events}}".encode()

    async def accept(self, events: Sequence[bytes], most: int) -> bool:
        """Whether all of them wait now; none does where there would be more than `most`."""
        taken, _waiting = await self._calls.function("accept", [self.events], most, *events)
        return bool(taken)

    async def read(self, consumer: str, after: bytes, count: int, block_ms: int | None = None) -> list[Entry]:
        """New entries (after b">"), or those that this consumer already holds (after an id)."""
        waiting = () if block_ms is None else ("BLOCK", block_ms)
        command = (
            "XREADGROUP",
            "GROUP",
            GROUP,
            consumer,
            "COUNT",
            count,
            *waiting,
            "STREAMS",
            self.events,
            after,
        )
        answer = await self._grouped(*command)
        if not answer:
            return []
        ((_, rows),) = answer.items() if isinstance(answer, dict) else answer
        return [_entry(row) for row in rows]

    async def claim(self, consumer: str, idle_ms: int, count: int) -> list[Entry]:
        """Takes over what another consumer has left lying for so long."""
        command = ("XAUTOCLAIM", self.events, GROUP, consumer, idle_ms, "0-0", "COUNT", count)
        answer = await self._grouped(*command)
        return [_entry(row) for row in answer[1]]

    async def take_up(self, consumer: str, count: int) -> list[Entry]:
        """Takes those of the oldest that were given out and that nobody holds: the group forgot who had them."""
        return [_entry(row) for row in await self._calls.function("take_up", [self.events], consumer, count)]

    async def settle(
        self,
        entries: Sequence[Entry],
        letters: Sequence[Letter],
        counts: Added,
        most_letters: int,
    ) -> int:
        """Removes the entries and writes letters and counts, in one step; how many nobody else had settled."""
        told = [
            part
            for letter in letters
            for part in (
                letter.entry.id,
                letter.entry.event,
                letter.reason,
                letter.message,
                letter.view,
            )
        ]
        added = arguments_of(counts)
        keys = [self.events, self.dead, self.counts.key]
        ids = [entry.id for entry in entries]
        settled = await self._calls.function(
            "settle", keys, most_letters, len(ids), *ids, len(letters), *told, *added
        )
        return int(settled)

    async def replay(self, letters: Sequence[bytes], most: int) -> int | None:
        """How many went back into the stream; None where more than `most` would wait."""
        replayed = int(await self._calls.function("replay", [self.events, self.dead], most, *letters))
        return None if replayed < 0 else replayed

    async def page(
        self, stream: bytes, after: bytes | None, count: int, last: bytes = b"+"
    ) -> list[tuple[bytes, Fields]]:
        """Entries of a stream after an id and up to another, oldest first."""
        start = b"-" if after is None else b"(" + after
        rows = await self._calls.command("XRANGE", stream, start, last, "COUNT", count)
        return [(row[0], _fields(row[1])) for row in rows]

    async def last(self, stream: bytes) -> bytes | None:
        rows = await self._calls.command("XREVRANGE", stream, "+", "-", "COUNT", 1)
        return rows[0][0] if rows else None

    async def pulse(self) -> Pulse:
        now = await self._redis.now_ms()
        first = await self.page(self.events, None, 1)
        backlog = await self._calls.command("XLEN", self.events)
        dead = await self._calls.command("XLEN", self.dead)
        return Pulse(now, milliseconds_of(first[0][0]) if first else None, backlog, dead)

    async def prune(self, idle_ms: int) -> None:
        """Forgets consumers that hold nothing and were not heard of for so long."""
        await self._calls.function("prune", [self.events], idle_ms)

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
            await self._calls.command("XGROUP", "CREATE", self.events, GROUP, "0", "MKSTREAM")
        except StoreUnavailable as error:
            if not error.message.startswith("BUSYGROUP"):
                raise


def _entry(row: Any) -> Entry:
    """An entry that was deleted while a consumer held it has no fields."""
    fields = _fields(row[1] or [])
    return Entry(row[0], fields.get(b"e", b""), fields.get(b"view", b"").decode(errors="replace"))


def _fields(given: Any) -> Fields:
    if isinstance(given, dict):
        return given
    return dict(zip(given[::2], given[1::2], strict=True))
