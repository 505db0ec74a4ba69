# SPDX-License-Identifier: Apache-2.0
"""What a graph counts. Labels are names of the configuration and fixed words, so the series are bounded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import get_args

from prometheus_client import CollectorRegistry, Counter

from endcap_runtime.graph.durations import DurationFamily, Durations
from endcap_runtime.graph.experiments.counting import Counting
from endcap_runtime.graph.failures import Kind

OUTCOMES = ("ok", "refused", "timeout", "reset", "status", "malformed", "too_large", "cancelled")


class GraphMetrics:
    """The families of a process; they outlive revisions of the graph."""

    def __init__(self, registry: CollectorRegistry) -> None:
        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(f"endcap_{name}", text, ["graph", *labels], registry=registry)

        def durations(name: str, text: str, *labels: str) -> DurationFamily:
            return DurationFamily(f"endcap_{name}", text, ["graph", *labels], registry)

        self.requests = counter("graph_requests", "Requests by status code.", "code")
        self.request_seconds = durations("graph_request_seconds", "From the request's head to its answer.")
        self.degraded = counter("graph_degraded", "Answers that a step is missing from.", "step")
        self.step_seconds = durations("step_seconds", "Time in a step, calls included.", "step")
        self.step_failures = counter("step_failures", "Failures of a step by kind.", "step", "kind")
        self.unknown_items = counter("unknown_items", "Items that the catalogue does not know.", "step")
        self.upstream_calls = counter("upstream_calls", "Calls to a model by outcome.", "model", "outcome")
        self.lookups = counter("graph_lookups", "Calls to the feature sidecar by outcome.", "outcome")
        self.records_dropped = counter(
            "graph_records_dropped", "Records that the feature sidecar did not get."
        )
        self.experiment_exposures = counter(
            "experiment_exposures", "Exposures by what became of them.", "outcome"
        )
        self.experiment_shadow = counter(
            "experiment_shadow",
            "Comparisons of a shadow with the baseline.",
            "experiment",
            "variant",
            "outcome",
        )
        self.experiments = Counting(
            counter(
                "experiment_assigned", "Requests by variant and reason.", "experiment", "variant", "reason"
            ),
            counter(
                "experiment_served",
                "Requests by what served their variant's.",
                "experiment",
                "variant",
                "served",
            ),
        )

    def of_step(self, graph: str, step: str) -> StepMetrics:
        kinds = [kind for group in get_args(Kind) for kind in (get_args(group) or (group,))]
        return StepMetrics(
            self.step_seconds.labels(graph, step),
            self.degraded.labels(graph, step),
            {kind: self.step_failures.labels(graph, step, kind) for kind in kinds},
        )

    def of_calls(self, graph: str, model: str) -> dict[str, Counter]:
        return {outcome: self.upstream_calls.labels(graph, model, outcome) for outcome in OUTCOMES}

    def of_lookups(self, graph: str) -> dict[str, Counter]:
        return {outcome: self.lookups.labels(graph, outcome) for outcome in OUTCOMES}


@dataclass(frozen=True, slots=True)
class StepMetrics:
    """One step's children, bound once so that a request looks nothing up."""

    seconds: Durations
    degraded: Counter
    failures: dict[str, Counter]

    def failed(self, kind: str) -> None:
        self.failures[kind].inc()


class RequestMetrics:
    """One graph's requests; a child a status code, made when the code is first seen."""

    def __init__(self, metrics: GraphMetrics, graph: str) -> None:
        self._requests, self._graph = metrics.requests, graph
        self._seconds = metrics.request_seconds.labels(graph)
        self._by_code: dict[int, Counter] = {}

    def seen(self, code: int, seconds: float) -> None:
        if code not in self._by_code:
            self._by_code[code] = self._requests.labels(self._graph, str(code))
        self._by_code[code].inc()
        self._seconds.observe(seconds)
