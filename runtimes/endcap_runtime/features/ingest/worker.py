# SPDX-License-Identifier: Apache-2.0
"""Takes waiting events in batches, applies them, and settles them.

A batch is settled after it was applied, so whoever dies in between leaves it to be applied again; an event that was
applied already is then a duplicate. Nothing is lost, nothing is counted twice.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections import Counter
from collections.abc import Sequence
from time import monotonic
from typing import NamedTuple

from endcap_runtime.features.ingest.metrics import IngestMetrics
from endcap_runtime.features.ingest.planning import Done, Task, counted, letters_of, plan
from endcap_runtime.features.ingest.serving import Current, Serving
from endcap_runtime.features.ingest.streams import Entry, Letter, Streams
from endcap_runtime.features.store import FeatureRedis, StoreUnavailable

log = logging.getLogger("endcap.ingest")

BATCH = 256
BLOCK_MS = 500
CLAIM_SECONDS = 2.0
IDLE_MS = 5_000  # longer than a batch takes by far
_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 1.0
_OWN, _NEW = b"0", b">"
_UNCHANGEABLE = "what the store holds of this entity is not ours: delete that key, then replay"


class Worker:
    """One consumer of the group, named after its pod."""

    def __init__(self, current: Current, metrics: IngestMetrics, consumer: str) -> None:
        self._current, self._metrics, self._consumer = current, metrics, consumer
        self._after = _OWN  # what this pod held when it ended, or when Redis went away, comes first
        self._claim_at = 0.0
        self._pause = _FIRST_PAUSE
        self._leaving = False

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
        entries = await self._entries(serving)
        # What came while we waited may be of a type that only the newest configuration knows.
        now = await self._current.serving()
        if now.redis is not serving.redis:
            self._after = _OWN
        elif entries:
            await self._apply(now, entries)

    async def _entries(self, serving: Serving) -> list[Entry]:
        streams = serving.streams
        if monotonic() >= self._claim_at:
            if left := await self._left_behind(streams):
                return left
            self._claim_at = monotonic() + CLAIM_SECONDS
        if self._after == _OWN:
            if held := await streams.read(self._consumer, _OWN, BATCH):
                return held
            self._after = _NEW
        return await streams.read(self._consumer, _NEW, BATCH, BLOCK_MS)

    async def _left_behind(self, streams: Streams) -> list[Entry]:
        """What another held for too long, or nobody holds; asked again at once as long as there is some."""
        claimed = await streams.claim(self._consumer, IDLE_MS, BATCH)
        return claimed or await streams.take_up(self._consumer, BATCH)

    async def _apply(self, serving: Serving, entries: list[Entry]) -> None:
        planned = plan(serving.compiled, entries, self._current.now_ms())
        applied = await _applied(serving.redis, planned.tasks)
        now_ms = self._current.now_ms()
        letters = [*planned.letters, *applied.letters]
        counts = counted(serving.compiled, applied.done, letters, now_ms)
        await serving.streams.settle(entries, letters, counts, serving.compiled.store.dead_letters)
        self._measure(entries, applied.done, letters, now_ms)

    def _measure(
        self, entries: list[Entry], done: Sequence[Done], letters: Sequence[Letter], now_ms: int
    ) -> None:
        self._metrics.batch.observe(len(entries))
        for entry in entries:
            self._metrics.visible.observe(max(0, now_ms - entry.arrival_ms) / 1000)
        for (view, outcome), count in Counter((task.view.name, outcome) for task, outcome in done).items():
            self._metrics.applied.labels(view, outcome.lower()).inc(count)
        for reason, count in Counter(letter.reason for letter in letters).items():
            self._metrics.dead_letters.labels(reason).inc(count)


class _Applied(NamedTuple):
    done: list[Done]
    letters: list[Letter]


async def _applied(redis: FeatureRedis, tasks: Sequence[Task]) -> _Applied:
    """Applies all at once; where Redis fails over the state of one, each by itself, so that one holds up no other."""
    try:
        outcomes = await redis.apply([task.update for task in tasks])
    except StoreUnavailable as error:
        if not _of_a_state(error):
            raise
        return await _applied_singly(redis, tasks)
    done = list(zip(tasks, outcomes, strict=True))
    return _Applied(done, letters_of(done))


async def _applied_singly(redis: FeatureRedis, tasks: Sequence[Task]) -> _Applied:
    done: list[Done] = []
    broken: list[Letter] = []
    for task in tasks:
        try:
            (outcome,) = await redis.apply([task.update])
            done.append((task, outcome))
        except StoreUnavailable as error:
            if not _of_a_state(error):
                raise
            log.exception("A state cannot be changed", extra={"key": task.update.state.decode()})
            broken.append(Letter(task.entry, "invalid", _UNCHANGEABLE, task.view.name))
    return _Applied(done, [*broken, *letters_of(done)])


def _of_a_state(error: StoreUnavailable) -> bool:
    """Whether the function itself failed, as over a key of another type: to ask again would fail again."""
    return error.reason in ("foreign_key", "refused") and "script: endcap_" in error.message
