# SPDX-License-Identifier: Apache-2.0
"""What happened in the last minute, in steps of five seconds: what a rollback is decided by must not be older."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from math import ceil, log
from typing import Generic, TypeVar

from endcap_api.experiment_config import Agreement, Latency, VariantServing

STEP_SECONDS, STEPS = 5, 12
WINDOW_MS = STEP_SECONDS * STEPS * 1000
# Latency's scale: the bounds of endcap_api's Latency. The last takes all that is longer, beyond any deadline.
_FIRST_MS, _GROWTH, _BINS = 0.1, log(1.05), 300

Part = TypeVar("Part")


class Window(Generic[Part]):
    """The parts of a minute; each is what one step of it has seen. Times are in seconds of a monotonic clock."""

    def __init__(self, make: Callable[[], Part]) -> None:
        self._make = make
        self._parts: deque[tuple[int, Part]] = deque(maxlen=STEPS)

    def now(self, at: float) -> Part:
        number = int(at // STEP_SECONDS)
        if not self._parts or self._parts[-1][0] != number:
            self._parts.append((number, self._make()))
        return self._parts[-1][1]

    def last(self, at: float) -> Iterator[Part]:
        """Those of the last minute; the newest is not over yet."""
        first = int(at // STEP_SECONDS) - STEPS
        return (part for number, part in self._parts if number > first)


@dataclass(slots=True)
class _Timed:
    """`latencies` counts by the place of their bound."""

    latencies: dict[int, int] = field(default_factory=dict)

    def latency(self, ms: float) -> None:
        """Counts one more."""
        place = 0 if ms <= _FIRST_MS else min(ceil(log(ms / _FIRST_MS) / _GROWTH), _BINS)
        self.latencies[place] = self.latencies.get(place, 0) + 1


@dataclass(slots=True)
class Served(_Timed):
    """What a variant did; fields as in endcap_api's VariantServing."""

    requests: int = 0
    served: int = 0
    errors: int = 0
    degraded: int = 0


@dataclass(slots=True)
class Compared(_Timed):
    """What a shadow said beside the baseline; fields as in endcap_api's Agreement."""

    compared: int = 0
    dropped: int = 0
    errors: int = 0
    overlap: float = 0.0
    correlation: float = 0.0


def serving(parts: list[Served], shadow: Agreement | None) -> VariantServing:
    return VariantServing(
        requests=sum(part.requests for part in parts),
        served=sum(part.served for part in parts),
        errors=sum(part.errors for part in parts),
        degraded=sum(part.degraded for part in parts),
        latency=_latency([part.latencies for part in parts]),
        shadow=shadow,
    )


def agreement(parts: list[Compared]) -> Agreement:
    return Agreement(
        compared=sum(part.compared for part in parts),
        dropped=sum(part.dropped for part in parts),
        errors=sum(part.errors for part in parts),
        overlap=sum(part.overlap for part in parts),
        correlation=sum(part.correlation for part in parts),
        latency=_latency([part.latencies for part in parts]),
    )


def _latency(parts: list[dict[int, int]]) -> Latency:
    bins = 1 + max((place for part in parts for place in part), default=-1)
    return Latency(counts=[sum(part.get(place, 0) for part in parts) for place in range(bins)])
