# SPDX-License-Identifier: Apache-2.0
"""The operator's own figures, named as controller-runtime names them, and the pages that show them and its health."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager

from aiohttp import web
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Metric, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

Counts = Mapping[tuple[str, bool], int]
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)


class Metrics:
    """Figures in a registry of their own, so that two operators in one process do not share them."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.reconciles = self._counter("endcap_reconcile", "Reconciliations.", "controller", "result")
        self.reconcile_seconds = self._histogram(
            "endcap_reconcile_time_seconds", "Time of a reconciliation.", "controller"
        )
        self.queue_depth = self._gauge("workqueue_depth", "Keys that wait.")
        self.queue_seconds = self._histogram("workqueue_queue_duration_seconds", "Time that a key waits.")
        self.api_requests = self._counter(
            "rest_client_requests", "Requests to the API server.", "code", "method"
        )
        self.drift = self._counter(
            "endcap_drift_corrections", "Children restored after someone changed or deleted them.", "kind"
        )
        self.last_event = self._gauge(
            "endcap_watch_last_event_timestamp_seconds", "When the last event of a kind came.", "kind"
        )

    def observe(self, depth: Callable[[], int], objects: Callable[[], Counts]) -> None:
        """Ask for the depth of the queue and the number of resources whenever the figures are asked for."""
        self.queue_depth.set_function(depth)
        self.registry.register(_Objects(objects))

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(name, text, labels, registry=self.registry)

    def _gauge(self, name: str, text: str, *labels: str) -> Gauge:
        return Gauge(name, text, labels, registry=self.registry)

    def _histogram(self, name: str, text: str, *labels: str) -> Histogram:
        return Histogram(name, text, labels, registry=self.registry, buckets=_SECONDS)


class _Objects(Collector):
    """Counted when asked for, since what is kept beside the store would drift from it."""

    def __init__(self, counts: Callable[[], Counts]) -> None:
        self.counts = counts

    def collect(self) -> Iterator[Metric]:
        family = GaugeMetricFamily("endcap_objects", "Resources by readiness.", labels=["kind", "ready"])
        for (kind, ready), number in sorted(self.counts().items()):
            family.add_metric([kind, str(ready).lower()], number)
        yield family


@asynccontextmanager
async def pages(
    metrics: Metrics, checks: Mapping[str, Callable[[], bool]], host: str, port: int
) -> AsyncIterator[None]:
    """Serve /metrics and each check at its exact path, and nothing else."""
    app = web.Application()
    app.add_routes([web.get(path, _answer(check)) for path, check in checks.items()])
    app.add_routes([web.get("/metrics", _show(metrics))])
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port).start()
        yield
    finally:
        await runner.cleanup()


def _show(metrics: Metrics) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def show(_: web.Request) -> web.Response:
        return web.Response(body=generate_latest(metrics.registry), content_type="text/plain")

    return show


def _answer(check: Callable[[], bool]) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(text="ok\n") if check() else web.Response(text="not ok\n", status=503)

    return answer
