# SPDX-License-Identifier: Apache-2.0
"""What has to be done now and then: reading the clock and the backlog, and removing what nobody needs any more.

Every pod does it; doing it twice changes nothing.
"""

from __future__ import annotations

import asyncio
import logging
from time import monotonic

from endcap_runtime.features.experiments.measured import Measured
from endcap_runtime.features.ingest.metrics import IngestMetrics
from endcap_runtime.features.ingest.planning import fed
from endcap_runtime.features.ingest.serving import Current, Serving
from endcap_runtime.features.ingest.streams import Pulse
from endcap_runtime.features.layout import View
from endcap_runtime.features.store import StoreUnavailable

log = logging.getLogger("endcap.ingest")

PULSE_SECONDS = 1.0
CLEAN_SECONDS = 30.0
CONSUMER_IDLE_MS = 3_600_000
STANDSTILL_MS = 600_000  # a worker that stood still so long goes on with a batch that another has settled


class Upkeep:
    """Keeps the gauges and Redis' clock."""

    def __init__(self, current: Current, metrics: IngestMetrics) -> None:
        self._current, self._metrics = current, metrics
        self._cleaned: Serving | None = None
        self._clean_at = 0.0

    async def run(self) -> None:
        """Runs until it is cancelled."""
        while True:
            serving = await self._current.serving()
            try:
                await self._beat(serving)
            except StoreUnavailable as error:
                log.debug("The store is away", extra={"reason": str(error)})
            except Exception:
                log.exception("The upkeep failed")
            await asyncio.sleep(PULSE_SECONDS)

    async def _beat(self, serving: Serving) -> None:
        pulse = await serving.streams.pulse()
        self._current.heard(pulse)
        self._metrics.lag.set(pulse.lag_ms / 1000)
        self._metrics.backlog.set(pulse.backlog)
        if monotonic() >= self._clean_at or self._cleaned is not serving:
            self._clean_at, self._cleaned = monotonic() + CLEAN_SECONDS, serving
            await self._clean(serving, pulse)

    async def _clean(self, serving: Serving, pulse: Pulse) -> None:
        """What makes room comes first: a store that is full takes nothing else."""
        views, experiments = serving.compiled.views, serving.compiled.experiments
        horizon = pulse.horizon_ms - STANDSTILL_MS
        readers: list[View | Measured] = [view for view in views.values() if view.kind != "row"]
        for reader in (*readers, *experiments.values()):
            await serving.redis.forget_seen([reader], horizon - reader.lateness_ms)
        await serving.streams.counts.add(fed(views))
        await serving.streams.prune(CONSUMER_IDLE_MS)
        if experiments:
            await serving.exposures.prune(CONSUMER_IDLE_MS)
