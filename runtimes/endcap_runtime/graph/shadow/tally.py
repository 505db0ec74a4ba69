# SPDX-License-Identifier: Apache-2.0
"""Where the figures of a shadow go: the page that the operator reads, and Prometheus."""

from __future__ import annotations

from typing import NamedTuple

from endcap_runtime.graph.metrics import GraphMetrics
from endcap_runtime.graph.shadow.agreement import Agreed


class Tally(NamedTuple):
    """One variant of one experiment; identity: the experiment's id, by which the page knows it."""

    metrics: GraphMetrics
    graph: str
    experiment: str
    identity: str
    variant: str

    def compared(self, agreed: Agreed, seconds: float) -> None:
        self._count("compared")
        page = self.metrics.experiments.shadow(self.identity, self.variant)
        page.compared += 1
        page.overlap += agreed.overlap
        page.correlation += agreed.correlation
        page.latency(seconds * 1000)

    def failed(self) -> None:
        self._count("failed")
        self.metrics.experiments.shadow(self.identity, self.variant).errors += 1

    def dropped(self) -> None:
        self._count("dropped")
        self.metrics.experiments.shadow(self.identity, self.variant).dropped += 1

    def _count(self, outcome: str) -> None:
        self.metrics.experiment_shadow.labels(self.graph, self.experiment, self.variant, outcome).inc()
