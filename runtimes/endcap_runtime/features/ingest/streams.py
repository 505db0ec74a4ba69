# SPDX-License-Identifier: Apache-2.0
"""The streams of one store: what waits, what was refused, what was served, and what is known of each view.

Redis runs a function on keys of one slot, and events, dead letters and counts change together; so the keys of the
last two carry the first one's name as their hash tag.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files
from typing import NamedTuple

from endcap_runtime.features.ingest.group import Entry, Fields, Group, milliseconds_of
from endcap_runtime.features.store import FeatureRedis
from endcap_runtime.features.store.calls import Calls
from endcap_runtime.features.store.counts import TEXT, Added, Counts, arguments_of
from endcap_runtime.features.store.library import Library, library_of

LIBRARY = library_of(TEXT + (files(__package__) / "ingest.lua").read_text(encoding="utf-8"))


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


class Streams(Group):
    """Every call raises StoreUnavailable; `prefix` begins the keys."""

    def __init__(self, redis: FeatureRedis, prefix: str, library: Library = LIBRARY) -> None:
        self.events = f"{prefix}:events".encode()
        super().__init__(Calls(redis.client, library), self.events)
        self._redis, self.counts = redis, Counts(redis, prefix)
        self.served = f"{prefix}:served".encode()
        self.dead = f"{prefix}:dead{{{prefix}:events}}".encode()

    async def accept(self, events: Sequence[bytes], most: int) -> bool:
        """Whether all of them wait now; none does where there would be more than `most`."""
        taken, _waiting = await self._calls.function("accept", [self.events], most, *events)
        return bool(taken)

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

    async def pulse(self) -> Pulse:
        now = await self._redis.now_ms()
        first = await self.page(self.events, None, 1)
        backlog = await self._calls.command("XLEN", self.events)
        dead = await self._calls.command("XLEN", self.dead)
        return Pulse(now, milliseconds_of(first[0][0]) if first else None, backlog, dead)


__all__ = ["LIBRARY", "Entry", "Fields", "Letter", "Pulse", "Streams", "milliseconds_of"]
