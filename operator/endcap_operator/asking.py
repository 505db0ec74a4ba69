# SPDX-License-Identifier: Apache-2.0
"""What pods alone know and are asked for: which revision they serve, how a store's views fare, and how an experiment.

A pod that cannot be asked is no error: it may be starting, or out of reach of the operator.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import aiohttp

from endcap_api.experiment_config import ExperimentSums, ServingPage
from endcap_operator.keys import Key
from endcap_operator.manifests.identity import PORT
from endcap_operator.plan.facts import Away, Fed, Report
from endcap_operator.plan.pods import Pod, Rejection, Serving

# Of a store that cannot be reached, an ingest pod says so when its own attempt has failed.
TIMEOUTS = {
    "/-/revision": aiohttp.ClientTimeout(total=1.0, connect=0.5),
    "/-/experiments": aiohttp.ClientTimeout(total=1.0, connect=0.5),
    "/v1/views": aiohttp.ClientTimeout(total=2.0, connect=0.5),
    "/v1/experiments": aiohttp.ClientTimeout(total=3.0, connect=0.5),
}
MOST_BYTES = {
    "/-/revision": 65536,
    "/-/experiments": 4194304,
    "/v1/views": 1048576,
    "/v1/experiments": 4194304,
}
REPORT_SECONDS = 4.5
_UNAVAILABLE = 503
_UNANSWERED = (aiohttp.ClientError, TimeoutError, OSError, ValueError, KeyError, TypeError, AttributeError)


@dataclass(frozen=True)
class Pages:
    """`reports` remembers what each store's pods said last, and when: many views ask for the same."""

    http: aiohttp.ClientSession
    reports: dict[Key, tuple[float, Report | Away | None]] = field(default_factory=dict)

    async def serving(self, pod: Pod) -> Serving | None:
        try:
            return _serving(await self._page(pod, "/-/revision"))
        except _UNANSWERED:
            return None

    async def experiments(self, pod: Pod) -> ServingPage | None:
        """What a graph pod did for each variant of late."""
        try:
            return ServingPage.model_validate(await self._page(pod, "/-/experiments"))
        except _UNANSWERED:
            return None

    async def sums(self, identity: str, pods: Iterable[Pod]) -> ExperimentSums | None:
        """Those of an experiment, of the first ready ingest pod that answers."""
        for pod in (pod for pod in pods if pod.ready):
            try:
                return ExperimentSums.model_validate(await self._page(pod, "/v1/experiments", identity))
            except _UNANSWERED:
                continue
        return None

    async def count(self, identity: str, pods: Iterable[Pod]) -> bool:
        """Whether every ready ingest pod counts an experiment."""
        asked = await asyncio.gather(*(self._counts(identity, pod) for pod in pods if pod.ready))
        return bool(asked) and all(asked)

    async def _counts(self, identity: str, pod: Pod) -> bool:
        try:
            return identity in (await self._page(pod, "/v1/experiments"))["experiments"].values()
        except _UNANSWERED:
            return False

    async def report(self, store: Key, pods: Iterable[Pod]) -> Report | Away | None:
        """Of the first ready pod that answers; at most one a few seconds."""
        at, before = self.reports.get(store, (float("-inf"), None))
        if time.monotonic() - at < REPORT_SECONDS:
            return before
        if not (ready := [pod for pod in pods if pod.ready]):
            return None
        found = await self._ask(ready)
        self.reports[store] = (time.monotonic(), found)
        return found

    def forget(self, store: Key) -> None:
        self.reports.pop(store, None)

    async def _ask(self, pods: Iterable[Pod]) -> Report | Away | None:
        for pod in pods:
            try:
                return _report(await self._page(pod, "/v1/views"), time.time_ns() // 1_000_000)
            except _UNANSWERED:
                continue
        return None

    async def _page(self, pod: Pod, path: str, of: str | None = None) -> dict[str, Any]:
        if not (pod.running and pod.address):
            raise ValueError(f"pod {pod.name} does not run")
        host = f"[{pod.address}]" if ":" in pod.address else pod.address
        url = "/".join(filter(None, (f"http://{host}:{PORT}{path}", of)))
        async with self.http.get(url, timeout=TIMEOUTS[path]) as answer:
            return dict(json.loads(await answer.content.read(MOST_BYTES[path])))


def _serving(answer: Mapping[str, Any]) -> Serving:
    rejected = answer.get("rejected")
    refused = (
        Rejection(*(str(rejected[name]) for name in ("revision", "reason", "message"))) if rejected else None
    )
    experiments = answer.get("experiments") or {}
    return Serving(answer["serving"], refused, {str(n): int(r) for n, r in experiments.items()})


def _report(answer: Mapping[str, Any], now: int) -> Report | Away:
    if answer.get("status") == _UNAVAILABLE:
        return Away(str(answer["detail"]).partition(". ")[0])  # what follows is for who sends events
    views = {
        str(name): Fed(_whole(view.get("since_ms")), _whole(view.get("updated_ms")))
        for name, view in answer["views"].items()
    }
    return Report(now, int(answer["lag_ms"]), int(answer["dead_letters"]), views)


def _whole(value: Any) -> int | None:
    return int(value) if value else None
