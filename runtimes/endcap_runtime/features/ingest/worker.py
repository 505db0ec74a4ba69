# SPDX-License-Identifier: Apache-2.0
"""Takes waiting events in batches, applies them, and settles them.

A batch is settled after it was applied, so whoever dies in between leaves it to be applied again; an event that was
applied already is then a duplicate. Nothing is lost, nothing is counted twice.
"""

from __future__ import annotations

import asyncio
import logging
import random
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Sequence
from time import monotonic

from endcap_runtime.features.ingest.applying import Applied, applied
from endcap_runtime.features.ingest.group import Entry, Group
from endcap_runtime.features.ingest.metrics import IngestMetrics
from endcap_runtime.features.ingest.planning import counted, outcome_labels, plan
from endcap_runtime.features.ingest.serving import Current, Serving
from endcap_runtime.features.ingest.streams import Letter
from endcap_runtime.features.store import StoreUnavailable

log = logging.getLogger("endcap.ingest")

BATCH = 256
BLOCK_MS = 500
CLAIM_SECONDS = 2.0
IDLE_MS = 5_000  # longer than a batch takes by far
_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 1.0
_OWN, _NEW = b"0", b">"


class Consumer(ABC):
    """One consumer of a stream's group, named after its pod."""

    def __init__(self, current: Current, metrics: IngestMetrics, consumer: str) -> None:
        self._current, self._metrics, self._consumer = current, metrics, consumer
        self._after = _OWN  # what this pod held when it ended, or when Redis went away, comes first
        self._claim_at = 0.0
        self._pause = _FIRST_PAUSE
        self._leaving = False

    @abstractmethod
    def _group(self, serving: Serving) -> Group | None:
        """The stream, None while there is nothing to do on it."""

    @abstractmethod
    async def _apply(self, serving: Serving, entries: list[Entry]) -> None:
        """Applies and settles; what fails stays with the consumer."""

    def leave(self) -> None:
        """Ends after the batch in hand, so that no other pod has to wait for it."""
        self._leaving = True

    async def run(self) -> None:
        """Runs until it is told to leave."""
        while not self._leaving:
            serving = await self._current.serving()
            try:
                await self._batch(serving)
                self._pause = _FIRST_PAUSE
            except StoreUnavailable as error:
                log.warning("The store is away", extra={"reason": str(error)})
                await self._rest()
            except Exception:
                # The batch stays with this consumer and is tried again: it is not lost.
                log.exception("A batch failed")
                await self._rest()

    async def _rest(self) -> None:
        self._after = _OWN
        await asyncio.sleep(self._pause * (0.5 + random.random()))  # noqa: S311 pods must not come back in step
        self._pause = min(self._pause * 2, _LONGEST_PAUSE)

    async def _batch(self, serving: Serving) -> None:
        group = self._group(serving)
        if group is None:
            await asyncio.sleep(BLOCK_MS / 1000)
            return
        entries = await self._entries(group)
        # What came while we waited may be of a type that only the newest configuration knows.
        now = await self._current.serving()
        if now.redis is not serving.redis:
            self._after = _OWN
        elif entries:
            await self._apply(now, entries)

    async def _entries(self, group: Group) -> list[Entry]:
        if monotonic() >= self._claim_at:
            if left := await self._left_behind(group):
                return left
            self._claim_at = monotonic() + CLAIM_SECONDS
        if self._after == _OWN:
            if held := await group.read(self._consumer, _OWN, BATCH):
                return held
            self._after = _NEW
        return await group.read(self._consumer, _NEW, BATCH, BLOCK_MS)

    async def _left_behind(self, group: Group) -> list[Entry]:
        """What another held for too long, or nobody holds; asked again at once as long as there is some."""
        claimed = await group.claim(self._consumer, IDLE_MS, BATCH)
        return claimed or await group.take_up(self._consumer, BATCH)


class Worker(Consumer):
    """Of the events: what views and experiments make of them."""

    def _group(self, serving: Serving) -> Group:
        return serving.streams

    async def _apply(self, serving: Serving, entries: list[Entry]) -> None:
        now_ms = self._current.now_ms()
        planned = plan(serving.compiled, entries, now_ms, serving.unit_key())
        done = await applied(serving.redis, planned.tasks, planned.countings)
        now_ms = self._current.now_ms()
        letters = [*planned.letters, *done.letters]
        counts = counted(serving.compiled, done.done, letters, now_ms)
        await serving.streams.settle(entries, letters, counts, serving.compiled.store.dead_letters)
        self._measure(entries, done, letters, now_ms)

    def _measure(self, entries: list[Entry], done: Applied, letters: Sequence[Letter], now_ms: int) -> None:
        self._metrics.batch.observe(len(entries))
        for entry in entries:
            self._metrics.visible.observe(max(0, now_ms - entry.arrival_ms) / 1000)
        applied_to = Counter((task.view.name, outcome) for task, outcome in done.done)
        for (view, outcome), count in applied_to.items():
            self._metrics.applied.labels(view, outcome.lower()).inc(count)
        for labels, count in Counter(outcome_labels(done.counted)).items():
            self._metrics.outcomes.labels(*labels).inc(count)
        for reason, count in Counter(letter.reason for letter in letters).items():
            self._metrics.dead_letters.labels(reason).inc(count)
