# SPDX-License-Identifier: Apache-2.0
"""Records on their way to the sidecar, behind the answers that they are about.

They wait in a bounded queue: a sidecar that is away for a moment gets them later, and one that stays away costs the
oldest of them, never memory or a request.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from contextlib import suppress

from prometheus_client import Counter

from endcap_runtime.graph.sidecar.client import Sidecar
from endcap_runtime.graph.upstream import UpstreamFailed

log = logging.getLogger("endcap.graph")

MOST_RECORDS = 1024
_SILENCE_SECONDS = 10.0
_SECONDS = 2.0  # as long as a sidecar takes to come back


class Records:
    """Sends one after the other; `dropped` of a record counts it when it is not taken."""

    def __init__(self, sidecar: Sidecar, most: int = MOST_RECORDS) -> None:
        self._sidecar, self._most = sidecar, most
        self._waiting: deque[tuple[bytes, Counter]] = deque()
        self._sending: asyncio.Task[None] | None = None
        self._silent_until = 0.0

    def put(self, record: bytes, dropped: Counter) -> None:
        """Returns at once; the oldest goes when there are too many."""
        if len(self._waiting) >= self._most:
            _, oldest = self._waiting.popleft()
            oldest.inc()
        self._waiting.append((record, dropped))
        if self._sending is None or self._sending.done():
            self._sending = asyncio.create_task(self._send_all())

    async def _send_all(self) -> None:
        loop = asyncio.get_running_loop()
        while self._waiting:
            record, dropped = self._waiting.popleft()
            try:
                await self._sidecar.keep(record, loop.time() + _SECONDS)
            except UpstreamFailed as failed:
                dropped.inc()
                self._tell(failed, loop.time())

    def _tell(self, failed: UpstreamFailed, now: float) -> None:
        """Seldom: what fails once fails for each request."""
        if now >= self._silent_until:
            self._silent_until = now + _SILENCE_SECONDS
            log.warning("The feature sidecar did not take a record", extra={"detail": failed.message})

    async def aclose(self, seconds: float = 1.0) -> None:
        """Sends what waits, for so long."""
        if self._sending is not None:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._sending, seconds)
