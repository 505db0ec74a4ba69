# SPDX-License-Identifier: Apache-2.0
"""What a graph leaves behind after its answer: results that become features, and the vectors that it was served.

Neither may cost the shopper anything, so they wait in a bounded queue and are written in the background: what does not
fit pushes out the oldest, and is counted. While the store is away they wait.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

from prometheus_client import CollectorRegistry, Counter

from endcap_runtime.features.lookup.source import Source
from endcap_runtime.features.store import FAILURES, StoreUnavailable
from endcap_runtime.features.store.faults import unavailable

log = logging.getLogger("endcap.features")

MOST_RECORDS = 2048
_BATCH = 256
_PAUSE_SECONDS = 0.5


class Row(NamedTuple):
    """A packed row of a view; `view` is its field among the counts."""

    view: str
    key: bytes
    state: bytes
    at_ms: int
    ttl_ms: int


class Record(NamedTuple):
    """Rows and served vectors by the digest of their store's configuration."""

    request_id: str
    rows: Mapping[str, Sequence[Row]]
    served: Mapping[str, bytes]


class Records:
    """The queue, and the task that empties it."""

    def __init__(self, sources: Mapping[str, Source], registry: CollectorRegistry) -> None:
        self.sources = sources
        self._queue: deque[Record] = deque()
        self._filled, self._written = asyncio.Event(), asyncio.Event()
        self._written.set()
        self._dropped = Counter(
            "endcap_features_records_dropped",
            "Records that were not written: the queue was full, or the store refused them.",
            registry=registry,
        )

    def add(self, record: Record) -> None:
        if len(self._queue) >= MOST_RECORDS:
            self._queue.popleft()
            self._dropped.inc()
        self._queue.append(record)
        self._filled.set()
        self._written.clear()

    async def work(self) -> None:
        """Runs until it is cancelled."""
        while True:
            await self._filled.wait()
            batch = [self._queue.popleft() for _ in range(min(_BATCH, len(self._queue)))]
            if not self._queue:
                self._filled.clear()
            for store in {store for record in batch for store in (*record.rows, *record.served)}:
                await self._guarded(store, batch)
            if not self._queue:
                self._written.set()

    async def _guarded(self, store: str, batch: Sequence[Record]) -> None:
        """A fault of ours costs its batch, not all that come after."""
        try:
            await self._to_store(store, batch)
        except Exception:
            log.exception("Records could not be written")
            self._dropped.inc(len(batch))

    async def drained(self, seconds: float) -> None:
        """Until all is written, or for so long."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._written.wait(), seconds)

    async def _to_store(self, store: str, batch: Sequence[Record]) -> None:
        """Tries until the store takes it; meanwhile the queue fills, and drops the oldest."""
        while (source := self.sources.get(store)) is not None:
            try:
                await _put(source, [row for record in batch for row in record.rows.get(store, ())])
                await _log_served(
                    source, [(r.request_id, r.served[store]) for r in batch if store in r.served]
                )
            except (StoreUnavailable, *FAILURES) as error:
                log.warning("Records wait for the store", extra={"store": source.name, "reason": str(error)})
                if not _passing(error):
                    break
                await asyncio.sleep(_PAUSE_SECONDS)
            else:
                return
        self._dropped.inc(len(batch))


def _passing(error: Exception) -> bool:
    """Whether the store may take the same records later: it may not where it refuses what they are."""
    reason = error.reason if isinstance(error, StoreUnavailable) else unavailable(error).reason
    return reason not in ("refused", "foreign_key")


async def _put(source: Source, rows: Sequence[Row]) -> None:
    """And counts them, so that a view which only graphs write is known to be fed."""
    if not rows:
        return
    written = await source.redis.put([(row.key, row.state, row.at_ms, row.ttl_ms) for row in rows])
    now_ms = source.now_ms
    added = {row.view: {"rows": 0, "updated_ms": now_ms} for row in rows}
    for row, newer in zip(rows, written, strict=True):
        added[row.view]["rows"] += newer
    await source.counts.add(added)


async def _log_served(source: Source, served: Sequence[tuple[str, bytes]]) -> None:
    if not served:
        return
    pipeline = source.redis.client.pipeline(transaction=False)
    for request_id, vector in served:
        fields: Any = {b"r": request_id, b"v": vector}
        pipeline.xadd(
            f"{source.config.prefix}:served", fields, maxlen=source.config.serving_log, approximate=True
        )
    await pipeline.execute()
