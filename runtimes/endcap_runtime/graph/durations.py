# SPDX-License-Identifier: Apache-2.0
"""Histograms of seconds for one event loop.

The client library's own takes locks and walks its buckets one by one, which for nine observations a request is a
tenth of the engine's time. Here nothing runs beside the loop, so a bisection and two additions do.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate

from prometheus_client import CollectorRegistry
from prometheus_client.core import HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from endcap_runtime.observability.metrics import SECONDS_BUCKETS

_BOUNDS = [*(str(bound) for bound in SECONDS_BUCKETS), "+Inf"]


class Durations:
    """One series: how many observations fell into each bucket, and their sum in seconds."""

    __slots__ = ("counts", "total")

    def __init__(self) -> None:
        self.counts = [0] * len(_BOUNDS)
        self.total = 0.0

    def observe(self, seconds: float) -> None:
        self.counts[bisect_left(SECONDS_BUCKETS, seconds)] += 1
        self.total += seconds

    def buckets(self) -> list[tuple[str, float]]:
        """Cumulative, as Prometheus wants them."""
        return list(zip(_BOUNDS, accumulate(self.counts), strict=True))


class DurationFamily(Collector):
    """A histogram with labels, in a registry."""

    def __init__(self, name: str, text: str, labels: Sequence[str], registry: CollectorRegistry) -> None:
        self._name, self._text, self._labels = name, text, labels
        self._series: dict[tuple[str, ...], Durations] = {}
        registry.register(self)

    def labels(self, *values: str) -> Durations:
        """The series of these values, made when it is first asked for."""
        return self._series.setdefault(values, Durations())

    def describe(self) -> Iterable[Metric]:
        return [self._family()]

    def collect(self) -> Iterator[Metric]:
        family = self._family()
        for values, series in self._series.items():
            family.add_metric(values, series.buckets(), series.total)
        yield family

    def _family(self) -> HistogramMetricFamily:
        return HistogramMetricFamily(self._name, self._text, labels=self._labels)
