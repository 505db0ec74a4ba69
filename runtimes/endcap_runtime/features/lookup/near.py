# SPDX-License-Identifier: Apache-2.0
"""Reads through the near-cache: what is fresh is not asked for, and what is being asked for is asked once.

A state of a tracked view is fresh until Redis says that its key was written (tracking.py); one of any other view for
FRESH_SECONDS. An invalidation that overtakes a read spoils it: its answer goes to whoever waits for it, whose request
began before the write was known, and is not kept.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from endcap_runtime.features.lookup.memory import Entry, Memory
from endcap_runtime.features.lookup.reads import Reads, States

FRESH_SECONDS = 0.25


Count = Callable[[str, int, int], None]  # view, hits, misses


class Asked(NamedTuple):
    """The keys of one view; `tracked` says whether Redis tells of writes to them."""

    view: str
    keys: Sequence[bytes]
    tracked: bool


class _Ticket(NamedTuple):
    """Where a state will be: in a read that is on its way, at a place."""

    read: asyncio.Future[States]
    place: int


class Got(NamedTuple):
    """States, which of them are not the store's own (None: none of them), and the age of the oldest in seconds."""

    states: Sequence[bytes | None]
    unread: NDArray[np.bool_] | None
    age: float


@dataclass(slots=True)
class _Line:
    """One view of a request: what memory holds of it, and which places have to be read."""

    asked: Asked
    entries: list[Entry | None]
    missing: list[int]
    tickets: list[_Ticket | None]


class NearCache:
    """`epoch` is the tracking's: 0 while Redis does not tell of writes, and another one after each loss."""

    def __init__(
        self, reads: Reads, memory: Memory, epoch: Callable[[], int], stale_seconds: float, count: Count
    ) -> None:
        self._reads, self._memory, self._epoch, self._stale = reads, memory, epoch, stale_seconds
        self._count = count
        self._flying: dict[bytes, _Ticket] = {}

    async def get(self, asked: Sequence[Asked], deadline: float, *, ask: bool) -> list[Got]:
        """`deadline` in seconds of time.monotonic(); unless `ask`, nothing is read that memory does not hold."""
        now = time.monotonic()
        found = [self._found(each, now) for each in asked]
        lines = [each for each in found if isinstance(each, _Line)]
        if ask and lines and (reads := self._depart(lines, now)):
            await asyncio.wait(reads, timeout=max(0.0, deadline - now))
        return [self._got(each, now) if isinstance(each, _Line) else each for each in found]

    def invalidate(self, key: bytes) -> None:
        """A write: what memory holds is no longer true, nor is what is on its way."""
        self._memory.invalidate(key)
        self._flying.pop(key, None)

    def _found(self, asked: Asked, now: float) -> Got | _Line:
        """What memory holds, where all of it is fresh: the rule, so it is found without a look at each entry."""
        entries = self._memory.find(asked.keys)
        try:
            states, times, epochs = zip(*cast(list[Entry], entries), strict=True)
        except TypeError:  # None among them
            return self._line(asked, entries, now)
        epoch = self._epoch()
        if asked.tracked and epoch and epochs.count(epoch) == len(epochs):
            self._count(asked.view, len(entries), 0)
            return Got(states, None, 0.0)
        if not asked.tracked and (oldest := min(times)) >= now - FRESH_SECONDS:
            self._count(asked.view, len(entries), 0)
            return Got(states, None, now - oldest)
        return self._line(asked, entries, now)

    def _line(self, asked: Asked, entries: list[Entry | None], now: float) -> _Line:
        if asked.tracked:
            epoch = self._epoch()
            missing = [i for i, e in enumerate(entries) if e is None or not epoch or e.epoch != epoch]
        else:
            since = now - FRESH_SECONDS
            missing = [i for i, e in enumerate(entries) if e is None or e.at < since]
        self._count(asked.view, len(entries) - len(missing), len(missing))
        return _Line(asked, entries, missing, [])

    def _depart(self, lines: Sequence[_Line], now: float) -> set[asyncio.Future[States]]:
        """Sends one read for what nobody has asked for yet; all reads that the lines wait for."""
        tracked = [key for line in lines if line.asked.tracked for key in self._new(line)]
        others = [key for line in lines if not line.asked.tracked for key in self._new(line)]
        # Once, though two bundles of a view, or a request that names a customer twice, ask for it twice.
        if keys := list(dict.fromkeys(tracked + others)):
            read = self._reads.get(keys)
            self._flying.update((key, _Ticket(read, i)) for i, key in enumerate(keys))
            read.add_done_callback(partial(self._landed, keys, now, self._epoch()))
        for line in lines:
            line.tickets = [self._flying.get(line.asked.keys[i]) for i in line.missing]
        return {ticket.read for line in lines for ticket in line.tickets if ticket is not None}

    def _new(self, line: _Line) -> list[bytes]:
        keys = line.asked.keys
        return [keys[i] for i in line.missing if keys[i] not in self._flying]

    def _landed(self, keys: Sequence[bytes], at: float, epoch: int, read: asyncio.Future[States]) -> None:
        mine = [i for i, key in enumerate(keys) if (t := self._flying.get(key)) and t.read is read]
        for i in mine:
            del self._flying[keys[i]]
        if read.cancelled() or read.exception() is not None:
            return
        states = read.result()
        self._memory.put([keys[i] for i in mine], (states[i] for i in mine), at, epoch)

    def _got(self, line: _Line, now: float) -> Got:
        states = [entry and entry.state for entry in line.entries]
        unread = []
        for number, i in enumerate(line.missing):
            ticket = line.tickets[number] if line.tickets else None
            if ticket is not None and _answered(ticket.read):
                states[i], line.entries[i] = ticket.read.result()[ticket.place], None
            else:
                unread.append(i)
                states[i] = self._old(line, i, now)
        used = [line.entries[i] for i in unread] if line.asked.tracked else line.entries
        return Got(states, _mask(len(states), unread), _age(used, now))

    def _old(self, line: _Line, i: int, now: float) -> bytes | None:
        entry = line.entries[i]
        if entry is not None and now - entry.at <= self._stale:
            return entry.state
        line.entries[i] = None
        return None


def _answered(read: asyncio.Future[States]) -> bool:
    return read.done() and not read.cancelled() and read.exception() is None


def _age(entries: Sequence[Entry | None], now: float) -> float:
    return now - min((entry.at for entry in entries if entry is not None), default=now)


def _mask(size: int, marked: Sequence[int]) -> NDArray[np.bool_] | None:
    if not marked:
        return None
    mask = np.zeros(size, bool)
    mask[list(marked)] = True
    return mask
