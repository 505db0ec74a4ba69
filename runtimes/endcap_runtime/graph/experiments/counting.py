# SPDX-License-Identifier: Apache-2.0
"""What is counted of experiments in a process: families for Prometheus, and the last minute for the operator.

Both outlive revisions of the graph: a rollback must not begin by forgetting why.
"""

from __future__ import annotations

from collections.abc import Mapping
from time import monotonic

from prometheus_client import Counter

from endcap_api.experiment_config import ExperimentServing, ServingPage
from endcap_runtime.graph.experiments.assigned import Assigned
from endcap_runtime.graph.experiments.experiment import Experiment, Experiments
from endcap_runtime.graph.experiments.window import (
    WINDOW_MS,
    Compared,
    Served,
    Window,
    agreement,
    serving,
)

# Who is counted in the last minute: those whom chance gave a variant, and whom a shadow runs beside.
_BY_CHANCE = frozenset({"assigned", "shadowed"})
# No variant has such a name: nothing gave the step's result.
NOBODY = "-"


class Tally:
    """One counter of several labels, whose children are looked up once."""

    def __init__(self, counter: Counter) -> None:
        self._counter = counter
        self._children: dict[tuple[str, ...], Counter] = {}

    def inc(self, *labels: str) -> None:
        child = self._children.get(labels)
        if child is None:
            child = self._children[labels] = self._counter.labels(*labels)
        child.inc()


class Counting:
    """By id of the experiment and variant. Nothing here runs beside the event loop."""

    def __init__(self, assigned: Counter, served: Counter) -> None:
        self._assigned, self._served = Tally(assigned), Tally(served)
        self._windows: dict[tuple[str, str], Window[Served]] = {}
        self._shadows: dict[tuple[str, str], Window[Compared]] = {}

    def request(
        self,
        graph: str,
        assignments: Mapping[str, Assigned],
        seconds: float,
        *,
        answered: bool,
        degraded: bool,
    ) -> None:
        """A request that is over, `seconds` after it came."""
        now = monotonic()
        for each in assignments.values():
            self._assigned.inc(graph, each.name, each.variant, each.reason)
            if each.reason != "forced":
                self._served.inc(graph, each.name, each.variant, each.served or NOBODY)
            if each.reason in _BY_CHANCE:
                part = self._window(each.config.id, each.variant).now(now)
                part.requests += 1
                part.served += each.served == each.variant
                part.errors += each.failure is not None or not answered
                part.degraded += answered and degraded
                part.latency(seconds * 1000)

    def shadow(self, identity: str, variant: str) -> Compared:
        """What is seen of a shadow now, to be added to."""
        return self._shadows.setdefault((identity, variant), Window(Compared)).now(monotonic())

    def page(self, experiments: Experiments | None) -> ServingPage:
        """Of the experiments that are served; those that are no more are forgotten."""
        by_name = experiments.by_name if experiments else {}
        ids = {each.config.id for each in by_name.values()}
        self._windows = {key: each for key, each in self._windows.items() if key[0] in ids}
        self._shadows = {key: each for key, each in self._shadows.items() if key[0] in ids}
        now = monotonic()
        return ServingPage(
            window_ms=WINDOW_MS, experiments={name: self._of(each, now) for name, each in by_name.items()}
        )

    def _of(self, experiment: Experiment, now: float) -> ExperimentServing:
        config = experiment.config
        variants = {}
        for variant in config.variants:
            key = config.id, variant.name
            shadow = self._shadows.get(key)
            window = self._windows.get(key)
            variants[variant.name] = serving(
                list(window.last(now)) if window else [],
                agreement(list(shadow.last(now))) if shadow else None,
            )
        return ExperimentServing(id=config.id, revision=config.revision, variants=variants)

    def _window(self, identity: str, variant: str) -> Window[Served]:
        key = identity, variant
        window = self._windows.get(key)
        if window is None:
            window = self._windows[key] = Window(Served)
        return window
