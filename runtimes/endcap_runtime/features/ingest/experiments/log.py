# SPDX-License-Identifier: Apache-2.0
"""The log of exposures: a stream that keeps what was applied, so that people can read it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from endcap_runtime.features.ingest.group import Entry, Group, milliseconds_of
from endcap_runtime.features.ingest.streams import LIBRARY
from endcap_runtime.features.store import FeatureRedis
from endcap_runtime.features.store.calls import Calls

KEPT = 100_000
SLACK = 1_000  # how far the log grows before it is trimmed again


class Waiting(NamedTuple):
    """How many exposures are not applied, and the arrival of the first."""

    backlog: int
    first_ms: int | None

    def lag_ms(self, now_ms: int) -> int:
        """0 says that nothing waits."""
        return 0 if self.first_ms is None else max(1, now_ms - self.first_ms)


class ExposureLog(Group):
    """Every call raises StoreUnavailable; `prefix` begins the keys."""

    def __init__(self, redis: FeatureRedis, prefix: str, kept: int = KEPT, slack: int = SLACK) -> None:
        self.stream = f"{prefix}:exposures".encode()
        super().__init__(Calls(redis.client, LIBRARY), self.stream)
        self._kept, self._slack = kept, slack

    async def accept(self, exposures: Sequence[bytes], most: int) -> bool:
        """Whether all of them wait now; none does where there would be more than `most`."""
        taken, _waiting = await self._calls.function("log_accept", [self.stream], most, *exposures)
        return bool(taken)

    async def take_up(self, consumer: str, count: int) -> list[Entry]:  # noqa: ARG002 (of the group's signature)
        """None: what was applied stays in the stream, so nobody could tell it from what was lost."""
        return []

    async def settle(self, entries: Sequence[Entry]) -> int:
        """Marks them as applied, and trims what is oldest; how many nobody else had settled."""
        ids = [entry.id for entry in entries]
        settled = await self._calls.function("log_settle", [self.stream], self._kept, self._slack, *ids)
        return int(settled)

    async def waiting(self, most: int) -> Waiting:
        """Counted up to `most` where Redis cannot say it at once."""
        backlog, first = await self._calls.function("log_pulse", [self.stream], most)
        return Waiting(int(backlog), milliseconds_of(first) if first else None)
