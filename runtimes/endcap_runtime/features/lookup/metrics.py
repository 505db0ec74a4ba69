# SPDX-License-Identifier: Apache-2.0
"""What lookups count. Labels are names of the configuration and fixed words, so the series are bounded."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from prometheus_client import CollectorRegistry, Counter, Gauge

from endcap_runtime.features.layout import Status
from endcap_runtime.features.statuses import STATUS_NAMES
from endcap_runtime.graph.durations import DurationFamily, Durations


class LookupMetrics:
    """The families of a process; they outlive revisions of the configuration."""

    def __init__(self, registry: CollectorRegistry) -> None:
        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(f"endcap_features_{name}", text, labels, registry=registry)

        self._lookups = counter("lookups", "Lookups of a bundle by outcome.", "bundle", "outcome")
        self._values = counter("values", "Values that were served, by status.", "bundle", "status")
        self._near = counter("near_cache", "States that were, or were not, at hand.", "view", "outcome")
        self._reads = counter("reads", "Reads of a store by outcome.", "store", "outcome")
        self._read_seconds = DurationFamily(
            "endcap_features_read_seconds", "Time of a read.", ["store"], registry
        )
        lookup = DurationFamily("endcap_features_lookup_seconds", "Time of a lookup request.", [], registry)
        self.lookup_seconds: Durations = lookup.labels()
        self.lag = Gauge(
            "endcap_features_lag_seconds", "Age of the oldest waiting event.", ["store"], registry=registry
        )
        self._bound: dict[tuple[str, ...], Any] = {}

    def looked_up(self, bundle: str, outcome: str) -> None:
        self._child(self._lookups, bundle, outcome).inc()

    def served(self, bundle: str, statuses: NDArray[np.uint8]) -> None:
        """A lookup that was answered, and what each of its values is worth."""
        if not np.count_nonzero(statuses):
            self._child(self._values, bundle, STATUS_NAMES[Status.PRESENT]).inc(statuses.size)
            self.looked_up(bundle, "ok")
            return
        counts = np.bincount(statuses.ravel(), minlength=len(STATUS_NAMES)).tolist()
        for name, count in zip(STATUS_NAMES, counts, strict=True):
            if count:
                self._child(self._values, bundle, name).inc(count)
        self.looked_up(bundle, "stale" if counts[Status.STALE] else "ok")

    def near(self, view: str, hits: int, misses: int) -> None:
        if hits:
            self._child(self._near, view, "hit").inc(hits)
        if misses:
            self._child(self._near, view, "miss").inc(misses)

    def read(self, store: str, outcome: str, seconds: float) -> None:
        self._child(self._reads, store, outcome).inc()
        self._read_seconds.labels(store).observe(seconds)

    def _child(self, family: Counter, *labels: str) -> Counter:
        """The series, bound once, so that a request takes no lock to find it."""
        key = (family._name, *labels)  # noqa: SLF001 (a counter's name is not public)
        if (child := self._bound.get(key)) is None:
            child = self._bound[key] = family.labels(*labels)
        found: Counter = child
        return found
