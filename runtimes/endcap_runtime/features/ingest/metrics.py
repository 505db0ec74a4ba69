# SPDX-License-Identifier: Apache-2.0
"""What an ingest pod counts. Labels are names of the configuration and fixed words, so the series are bounded."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from endcap_runtime.observability.metrics import SECONDS_BUCKETS

_BATCHES = (1, 4, 16, 64, 256, 512)


class IngestMetrics:
    """The families of a process; they outlive revisions."""

    def __init__(self, registry: CollectorRegistry) -> None:
        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(f"endcap_ingest_{name}", text, labels, registry=registry)

        self.events = counter(
            "events", "Events of requests: accepted, refused, busy or unavailable.", "outcome"
        )
        self.applied = counter("applied", "Events as a view took them.", "view", "outcome")
        self.dead_letters = counter("dead_letters", "Events that became dead letters.", "reason")
        self.exposures = counter(
            "exposures",
            "Exposures at the door (accepted, refused, busy, unavailable), and as they were counted "
            "(first, again, crossed, uncounted, failed).",
            "outcome",
        )
        self.outcomes = counter(
            "outcomes",
            "Outcomes by what became of them: counted, joined, waiting, outside, duplicate, late, future, invalid.",
            "experiment",
            "metric",
            "outcome",
        )
        self.batch = Histogram(
            "endcap_ingest_batch_events",
            "Events that a worker took at once.",
            registry=registry,
            buckets=_BATCHES,
        )
        self.visible = Histogram(
            "endcap_ingest_visible_seconds",
            "From an event's arrival until features show it.",
            registry=registry,
            buckets=SECONDS_BUCKETS,
        )
        self.lag = Gauge("endcap_ingest_lag_seconds", "Age of the oldest waiting event.", registry=registry)
        self.backlog = Gauge("endcap_ingest_backlog", "Events that wait.", registry=registry)
