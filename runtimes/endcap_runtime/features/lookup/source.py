# SPDX-License-Identifier: Apache-2.0
"""One store, read from: what is asked of it, whether it can be asked, its clock and its lag.

While a store cannot be asked nobody waits for it: one probe at a time asks whether it is back, and lookups are answered
at once from what was read last. So nothing is heaped on a store that is about to return.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from functools import partial
from typing import NamedTuple

import numpy as np

from endcap_api.features_config import StoreConfig
from endcap_runtime.features.layout import View
from endcap_runtime.features.lookup.clock import RedisClock
from endcap_runtime.features.lookup.found import Read
from endcap_runtime.features.lookup.memory import Memory
from endcap_runtime.features.lookup.metrics import LookupMetrics
from endcap_runtime.features.lookup.mget import ANSWER_SECONDS, Mget
from endcap_runtime.features.lookup.near import Asked, Got, NearCache
from endcap_runtime.features.lookup.reads import Reads, States
from endcap_runtime.features.lookup.tracking import Tracking
from endcap_runtime.features.store import FAILURES, FeatureRedis, StoreUnavailable
from endcap_runtime.features.store.counts import Counts

log = logging.getLogger("endcap.features")

POLL_SECONDS = 1.0
PROBE_SECONDS = 0.25


class NearSettings(NamedTuple):
    """How much is kept, and how old it may be when the store cannot be asked."""

    most_bytes: int = 64 * 1024 * 1024
    stale_seconds: float = 600.0


class Source:
    """A store under its name; `views` says what is read from it."""

    def __init__(
        self,
        name: str,
        config: StoreConfig,
        redis: FeatureRedis,
        settings: NearSettings,
        metrics: LookupMetrics,
    ) -> None:
        self.name, self.config, self.redis = name, config, redis
        self.counts = Counts(redis, config.prefix)
        self._metrics = metrics
        self._mget = None if config.cluster else Mget(redis)
        self._reads = Reads(self._fetch)
        self._near: NearCache | None = None
        self._tracking: Tracking | None = None
        if settings.most_bytes:
            self._near = self._near_cache(settings)
        self._clock = RedisClock()
        self._lag_ms = 0
        self._away = False
        self.asked = asyncio.Event()  # set once the store has answered, or failed to
        self._tasks: list[asyncio.Task[None]] = []

    def _near_cache(self, settings: NearSettings) -> NearCache:
        memory = Memory(settings.most_bytes)
        epoch = lambda: self._tracking.epoch if self._tracking else 0  # noqa: E731
        near = NearCache(self._reads, memory, epoch, settings.stale_seconds, self._metrics.near)
        if not self.config.cluster:
            self._tracking = Tracking(self.redis, near.invalidate)
        return near

    def start(self) -> None:
        self._tasks.append(asyncio.create_task(self._watch()))
        if self._tracking is not None:
            self._tasks.append(asyncio.create_task(self._tracking.follow()))

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._mget is not None:
            await self._mget.aclose()
        await self.redis.aclose()

    def track(self, views: Iterable[View]) -> None:
        """The views whose writes are few enough to be told one by one: all but those of tiles."""
        if self._tracking is not None:
            slow = [f"{self.config.prefix}:{view.name}@" for view in views if view.kind != "tiles"]
            self._tracking.want(slow)

    @property
    def late(self) -> bool:
        return self._lag_ms > self.config.max_lag_ms

    @property
    def now_ms(self) -> int:
        """Redis' clock."""
        return self._clock.now_ms()

    async def read(self, asked: Sequence[tuple[View, Sequence[bytes]]], deadline: float) -> list[Read]:
        """States of each view's keys; by the deadline (time.monotonic()), whatever the store does."""
        ask = not self._away and not self._reads.stuck
        if self._near is None:
            got = await self._direct(asked, deadline, ask=ask)
        else:
            lines = [Asked(view.name, keys, self._tracked(view)) for view, keys in asked]
            got = await self._near.get(lines, deadline, ask=ask)
        now, late = self.now_ms, self.late
        return [Read(each.states, each.unread, round(each.age * 1000), now, late) for each in got]

    def _tracked(self, view: View) -> bool:
        return self._tracking is not None and view.kind != "tiles"

    async def _direct(
        self, asked: Sequence[tuple[View, Sequence[bytes]]], deadline: float, *, ask: bool
    ) -> list[Got]:
        flat = asked[0][1] if len(asked) == 1 else [key for _, keys in asked for key in keys]
        try:
            states = await self._read_by(flat, deadline) if ask else None
        except (StoreUnavailable, TimeoutError):
            states = None
        if states is None:
            return [Got([None] * len(keys), np.ones(len(keys), bool), 0.0) for _, keys in asked]
        start, got = 0, []
        for _, keys in asked:
            got.append(Got(states[start : start + len(keys)], None, 0.0))
            start += len(keys)
        return got

    async def _read_by(self, keys: Sequence[bytes], deadline: float) -> States:
        read = self._reads.get(keys)
        timer = asyncio.get_running_loop().call_later(deadline - time.monotonic(), _expire, read)
        try:
            return await read
        finally:
            timer.cancel()

    def _fetch(self, keys: Sequence[bytes]) -> asyncio.Future[States]:
        read = asyncio.create_task(self._read_cluster(keys)) if self._mget is None else self._mget.read(keys)
        read.add_done_callback(partial(self._fetched, time.monotonic()))
        return read

    async def _read_cluster(self, keys: Sequence[bytes]) -> States:
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                return await self.redis.read(keys)
        except TimeoutError as error:
            raise StoreUnavailable("timeout", "no answer") from error

    def _fetched(self, began: float, read: asyncio.Future[States]) -> None:
        error = None if read.cancelled() else read.exception()
        outcome = "ok" if error is None else "unavailable"
        self._metrics.read(self.name, outcome, time.monotonic() - began)
        if error is not None:
            self._left(str(error))

    def _left(self, reason: str) -> None:
        if not self._away:
            log.warning("The store cannot be asked", extra={"store": self.name, "reason": reason})
        self._away = True

    def _returned(self) -> None:
        if self._away:
            log.info("The store can be asked again", extra={"store": self.name})
        self._away = False

    async def _watch(self) -> None:
        """Asks for the clock and the lag once a second, and four times a second whether it is back."""
        while True:
            try:
                async with asyncio.timeout(ANSWER_SECONDS):
                    await self._probe()
                self._returned()
            except (StoreUnavailable, *FAILURES) as error:
                self._left(str(error) or type(error).__name__)
            self.asked.set()
            await asyncio.sleep(PROBE_SECONDS if self._away else POLL_SECONDS)

    async def _probe(self) -> None:
        began = time.monotonic()
        now = await self.redis.now_ms()
        self._clock.seen(now, began, time.monotonic())
        oldest = await self.redis.client.xrange(f"{self.config.prefix}:events", count=1)
        self._lag_ms = max(0, now - int(bytes(oldest[0][0]).split(b"-")[0])) if oldest else 0
        self._metrics.lag.labels(self.name).set(self._lag_ms / 1000)


def _expire(read: asyncio.Future[States]) -> None:
    if not read.done():
        read.set_exception(TimeoutError())


async def wait_asked(sources: Iterable[Source], seconds: float) -> None:
    """Until each store has answered once, or for so long."""
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            for source in sources:
                await source.asked.wait()
