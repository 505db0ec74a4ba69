# SPDX-License-Identifier: Apache-2.0
"""A queue of keys, each in it once and in work once.

A change comes before a retry, and a retry before a resync. A key that fails waits longer each time, from
milliseconds to minutes, with jitter so that what failed together does not come back together; a change of it is
taken at once all the same, since the change may be the remedy.
"""

from __future__ import annotations

import asyncio
import heapq
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import IntEnum
from itertools import count

from endcap_operator.keys import Key

FIRST_DELAY = 0.005
LONGEST_DELAY = 300.0


class Urgency(IntEnum):
    """Why a key is in the queue; lower is sooner."""

    CHANGE = 0
    RETRY = 1
    RESYNC = 2


@dataclass
class _Entry:
    urgency: Urgency
    since: float


@dataclass
class WorkQueue:
    """`waited` is told the seconds that each key was in the queue."""

    waited: Callable[[float], None] = lambda _: None
    _heap: list[tuple[Urgency, int, Key]] = field(default_factory=list)
    _entries: dict[Key, _Entry] = field(default_factory=dict)
    _working: dict[Key, Urgency | None] = field(default_factory=dict)
    _failures: dict[Key, int] = field(default_factory=dict)
    _timers: dict[Key, asyncio.TimerHandle] = field(default_factory=dict)
    _order: count[int] = field(default_factory=count)
    _news: asyncio.Event = field(default_factory=asyncio.Event)

    def __len__(self) -> int:
        return len(self._entries)

    def add(self, key: Key, urgency: Urgency = Urgency.CHANGE) -> None:
        """Ask for a key to be worked on, now or after the work on it that is under way."""
        if key in self._working:
            before = self._working[key]
            self._working[key] = urgency if before is None else min(before, urgency)
            return
        self._cancel_timer(key)
        entry = self._entries.get(key)
        if entry is None:
            entry = self._entries[key] = _Entry(urgency, asyncio.get_running_loop().time())
        elif entry.urgency <= urgency:
            return
        entry.urgency = urgency
        heapq.heappush(self._heap, (urgency, next(self._order), key))
        self._news.set()

    async def take(self) -> Key:
        """The most urgent key; it is not given out again until `done`, `retry` or `again`."""
        while True:
            while self._heap:
                urgency, _, key = heapq.heappop(self._heap)
                entry = self._entries.get(key)
                if entry is not None and entry.urgency == urgency:
                    return self._start(key, entry)
            self._news.clear()
            await self._news.wait()

    def _start(self, key: Key, entry: _Entry) -> Key:
        del self._entries[key]
        self._working[key] = None
        self.waited(asyncio.get_running_loop().time() - entry.since)
        return key

    def done(self, key: Key) -> None:
        """The work succeeded."""
        self._failures.pop(key, None)
        self._finish(key)

    def again(self, key: Key, delay: float) -> None:
        """The work succeeded and wants another look after some seconds."""
        self._failures.pop(key, None)
        if not self._finish(key):
            self._later(key, delay)

    def retry(self, key: Key, first: float = FIRST_DELAY, longest: float = LONGEST_DELAY) -> float:
        """The work failed; the seconds until it is tried again unless a change comes first."""
        failures = self._failures[key] = self._failures.get(key, 0) + 1
        delay = min(first * 2.0 ** min(failures - 1, 30), longest)
        delay *= random.uniform(0.75, 1.25)  # noqa: S311 - jitter
        if not self._finish(key):
            self._later(key, delay)
        return delay

    def _finish(self, key: Key) -> bool:
        """Whether the key was asked for again while it was in work."""
        urgency = self._working.pop(key)
        if urgency is not None:
            self.add(key, urgency)
        return urgency is not None

    def _later(self, key: Key, delay: float) -> None:
        self._cancel_timer(key)
        loop = asyncio.get_running_loop()
        self._timers[key] = loop.call_later(delay, self._due, key)

    def _due(self, key: Key) -> None:
        del self._timers[key]
        self.add(key, Urgency.RETRY)

    def _cancel_timer(self, key: Key) -> None:
        if timer := self._timers.pop(key, None):
            timer.cancel()
