# SPDX-License-Identifier: Apache-2.0
"""What the pod works with now: a compiled configuration, and the Redis that it names."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path
from time import time

from endcap_api.features_config import StoreConfig
from endcap_runtime.features.ingest.compiled import Compiled
from endcap_runtime.features.ingest.experiments.log import ExposureLog
from endcap_runtime.features.ingest.streams import Pulse, Streams
from endcap_runtime.features.store import FeatureRedis
from endcap_runtime.features.store.unit_key import UnitKey


@dataclass(frozen=True, slots=True)
class Serving:
    """Whoever works on something takes this once and keeps it."""

    compiled: Compiled
    redis: FeatureRedis
    streams: Streams
    exposures: ExposureLog
    units: UnitKey

    def unit_key(self) -> bytes:
        """Empty where nothing is measured. Raises NoUnitKey."""
        return self.units.read() if self.compiled.experiments else b""


class Current:
    """Changed by the configuration alone."""

    def __init__(self, secrets: Path, units: Path = Path("/etc/endcap/unit-key")) -> None:
        self._secrets, self._units = secrets, UnitKey(units)
        self._first = asyncio.Event()
        self._serving: Serving | None = None
        self._ahead_ms = 0

    @property
    def known(self) -> Serving | None:
        return self._serving

    async def serving(self) -> Serving:
        """Waits for the first configuration."""
        while self._serving is None:
            await self._first.wait()
        return self._serving

    async def take(self, compiled: Compiled) -> None:
        """Keeps the connection where the store is the same. Raises NoUnitKey: units of experiments must be hidden."""
        if compiled.experiments:
            self._units.read()
        before = self._serving
        if before is not None and _place(before.compiled.store) == _place(compiled.store):
            redis = before.redis
        else:
            redis = await FeatureRedis.open(compiled.store, self._secrets)
        prefix = compiled.store.prefix
        self._serving = Serving(
            compiled, redis, Streams(redis, prefix), ExposureLog(redis, prefix), self._units
        )
        self._first.set()
        if before is not None and before.redis is not redis:
            await before.redis.aclose()

    def now_ms(self) -> int:
        """Redis' clock, to within what passes between two pulses."""
        return int(time() * 1000) + self._ahead_ms

    def heard(self, pulse: Pulse) -> None:
        self._ahead_ms = pulse.now_ms - int(time() * 1000)

    async def close(self) -> None:
        if self._serving is not None:
            await self._serving.redis.aclose()


def _place(store: StoreConfig) -> tuple[object, ...]:
    """What a connection depends on; limits may change under it."""
    return store.url, store.cluster, store.secret, store.prefix
