# SPDX-License-Identifier: Apache-2.0
"""The model server's metrics, by model and version. Names: docs/contracts.md."""

from __future__ import annotations

from functools import lru_cache

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from endcap_runtime.model.failures import Phase
from endcap_runtime.observability.metrics import ROWS_BUCKETS, SECONDS_BUCKETS

_OF_MODEL = ("model", "version")


class Counters:
    """Counts for one model; children are looked up once, since labels() costs more than inc()."""

    def __init__(self, registry: CollectorRegistry, model: str, version: str) -> None:
        own = {"model": model, "version": version}
        requests = Counter(
            "endcap_model_requests", "Requests by protocol and status code.", [*_OF_MODEL, "protocol", "code"],
            registry=registry,
        )  # fmt: skip
        phases = Histogram(
            "endcap_model_phase_seconds", "Seconds of a batch in a phase.", [*_OF_MODEL, "phase"],
            registry=registry, buckets=SECONDS_BUCKETS,
        )  # fmt: skip
        failures = Counter(
            "endcap_model_failures", "Requests that a phase failed.", [*_OF_MODEL, "phase"], registry=registry
        )
        rows = Histogram(
            "endcap_model_batch_rows", "Rows of a batch.", _OF_MODEL, registry=registry, buckets=ROWS_BUCKETS
        )
        in_flight = Gauge(
            "endcap_model_requests_in_flight", "Requests in flight.", _OF_MODEL, registry=registry
        )
        lookups = Counter(
            "endcap_model_feature_lookups", "Lookups of features, one a batch, by outcome.", [*_OF_MODEL, "outcome"],
            registry=registry,
        )  # fmt: skip
        self._requests = lru_cache(
            lambda protocol, code: requests.labels(**own, protocol=protocol, code=code)
        )
        self._phases = lru_cache(lambda phase: phases.labels(**own, phase=phase))
        self._failures = lru_cache(lambda phase: failures.labels(**own, phase=phase))
        self._lookups = lru_cache(lambda outcome: lookups.labels(**own, outcome=outcome))
        self.rows = rows.labels(**own).observe
        self.in_flight = in_flight.labels(**own)

    def request(self, protocol: str, code: int) -> None:
        """`protocol` is of a fixed vocabulary: json, oip, other."""
        self._requests(protocol, code).inc()

    def phase(self, phase: Phase, seconds: float) -> None:
        self._phases(phase).observe(seconds)

    def failure(self, phase: Phase) -> None:
        self._failures(phase).inc()

    def lookup(self, outcome: str) -> None:
        """`outcome` is of a fixed vocabulary: ok, defaults, refused."""
        self._lookups(outcome).inc()
