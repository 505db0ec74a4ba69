# SPDX-License-Identifier: Apache-2.0
"""Exposures on their way to one store, behind the answers that they are about.

An outcome without its exposure counts for nobody, so they are kept until they are taken, however long that is; but
memory is bounded, so of too many the oldest go. Those are forgotten, too: when their unit comes again it is told again.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from typing import NamedTuple

from prometheus_client import Counter

from endcap_runtime.graph.exposures.ingest import Ingest, Later, Refused
from endcap_runtime.graph.exposures.told import Told

log = logging.getLogger("endcap.graph")

MOST = 10_000
MOST_BYTES = 32 << 20
BATCH, BATCH_BYTES = 500, 512 << 10
# Exposures of as many requests as come meanwhile go together: that is a call for all of them, not one for each.
GATHER_SECONDS = 0.1
FIRST_PAUSE, LONGEST_PAUSE = 0.2, 5.0
# So many refusals with nothing taken between them are no bad exposure but a store that takes none of ours.
_REFUSES_ALL = 12
_SILENCE_SECONDS = 10.0
_HURRIED_PAUSE = 0.05


class Exposure(NamedTuple):
    """One that is to be told: the key that it is remembered by, its JSON, and where it is counted."""

    key: int
    body: bytes
    sent: Counter
    dropped: Counter


class Outbox:
    """Sends one batch after the other; `told` forgets those that are given up."""

    def __init__(self, ingest: Ingest, told: Told, most: int = MOST, gather: float = GATHER_SECONDS) -> None:
        self._ingest, self._told, self._most, self._gather = ingest, told, most, gather
        self._waiting: deque[Exposure] = deque()
        self._flying: Sequence[Exposure] = ()
        self._bytes = 0
        self._largest = BATCH  # less, for as long as one that nobody names is looked for
        self._pause = FIRST_PAUSE
        self._refusals = 0  # in a row
        self._sending: asyncio.Task[None] | None = None
        self._closing = asyncio.Event()
        self._silent_until = 0.0

    def __len__(self) -> int:
        """How many have not been taken."""
        return len(self._waiting) + len(self._flying)

    def put(self, exposure: Exposure) -> None:
        """Returns at once; the oldest go when there are too many."""
        self._waiting.append(exposure)
        self._bytes += len(exposure.body)
        self._bound()
        if self._sending is None or self._sending.done():
            self._sending = asyncio.create_task(self._send_all())

    async def aclose(self, seconds: float) -> None:
        """Sends what waits, for so long; what is left is counted as dropped."""
        self._closing.set()
        if self._sending is not None:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._sending, seconds)
        if left := [*self._flying, *self._waiting]:
            self._give_up(left)
            self._flying = ()
            self._waiting.clear()
            log.warning("Exposures were not taken before the end", extra={"exposures": len(left)})
        self._ingest.close()

    async def _send_all(self) -> None:
        while self._waiting:
            if len(self._waiting) < BATCH:
                await self._rest(self._gather)
            self._flying = self._next()
            pause = await self._send(self._flying)
            self._flying = ()
            if pause:
                await self._rest(pause)

    async def _rest(self, seconds: float) -> None:
        """A pause, which a pod that leaves cuts short."""
        if self._closing.is_set():
            await asyncio.sleep(min(seconds, _HURRIED_PAUSE))
            return
        with suppress(TimeoutError):
            await asyncio.wait_for(self._closing.wait(), seconds)

    def _next(self) -> list[Exposure]:
        batch: list[Exposure] = []
        size = 0
        while self._waiting and len(batch) < self._largest:
            size += len(self._waiting[0].body)
            if batch and size > BATCH_BYTES:
                break
            batch.append(self._waiting.popleft())
        return batch

    async def _send(self, batch: Sequence[Exposure]) -> float:
        """The pause before the next, in seconds."""
        try:
            await self._ingest.take([each.body for each in batch])
        except Later as later:
            self._tell(str(later))
            self._put_back(batch)
            return self._pause_after(later.seconds)
        except Refused as refused:
            self._tell(str(refused))
            self._sort_out(batch, refused.places)
            self._refusals += 1
            return self._pause_after(0.0) if self._refusals > _REFUSES_ALL else 0.0
        self._done(batch)
        for each in batch:
            each.sent.inc()
        self._pause, self._largest, self._refusals = FIRST_PAUSE, min(2 * self._largest, BATCH), 0
        return 0.0

    def _pause_after(self, asked: float) -> float:
        """At least as long as it was asked for, in seconds."""
        pause, self._pause = self._pause, min(2 * self._pause, LONGEST_PAUSE)
        return max(asked, pause) * random.uniform(1.0, 1.5)  # noqa: S311 (no secret)

    def _sort_out(self, batch: Sequence[Exposure], places: frozenset[int]) -> None:
        """Gives up those that were named; where none was, a part of the batch is tried, down to one alone."""
        wrong = places & frozenset(range(len(batch)))
        if not wrong and len(batch) > 1:
            self._largest = len(batch) // 2
            self._put_back(batch)
            return
        refused = [each for place, each in enumerate(batch) if place in wrong or not wrong]
        self._give_up(refused)
        self._put_back([each for place, each in enumerate(batch) if wrong and place not in wrong])

    def _put_back(self, batch: Sequence[Exposure]) -> None:
        self._flying = ()
        self._waiting.extendleft(reversed(batch))
        self._bound()

    def _bound(self) -> None:
        while self._waiting and (len(self) > self._most or self._bytes > MOST_BYTES):
            self._give_up([self._waiting.popleft()])

    def _give_up(self, exposures: Sequence[Exposure]) -> None:
        self._done(exposures)
        for each in exposures:
            each.dropped.inc()
            self._told.forget(each.key)

    def _done(self, exposures: Sequence[Exposure]) -> None:
        self._bytes -= sum(len(each.body) for each in exposures)

    def _tell(self, why: str) -> None:
        """Seldom: what fails once fails for each."""
        now = asyncio.get_running_loop().time()
        if now >= self._silent_until:
            self._silent_until = now + _SILENCE_SECONDS
            log.warning("Exposures were not taken", extra={"detail": why, "waiting": len(self)})
