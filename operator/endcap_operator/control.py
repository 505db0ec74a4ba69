# SPDX-License-Identifier: Apache-2.0
"""Workers that take keys from the queue, and the comparison with the cluster that no watch can replace."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from endcap_operator.cluster import OURS, Cluster, ClusterError, UnreachableError
from endcap_operator.keys import Key, Manifest
from endcap_operator.manifests.configuration import RECORD
from endcap_operator.metrics import Metrics
from endcap_operator.observe import WATCHED, is_ready, list_all
from endcap_operator.plan.references import FEATURES, reached
from endcap_operator.reconcile import Outcome, Reconciliation
from endcap_operator.store import Store, owner_key
from endcap_operator.workqueue import Urgency, WorkQueue

# What an experiment steers: who answers, who is held at an artefact, and who counts.
ROUTED = ("InferenceGraph", "ModelDeployment", "FeatureStore")
REFUSED_SECONDS = (0.5, 8.0)
LONGEST_RECHECK = 5.0
PATIENCE = 1.05
_log = logging.getLogger("endcap.operator")


@dataclass(frozen=True)
class Control:
    """`rechecks` counts how often in a row a key asked for another look: the looks become rarer."""

    store: Store
    queue: WorkQueue
    reconcile: Reconciliation
    metrics: Metrics
    rechecks: dict[Key, int] = field(default_factory=dict)

    async def work(self) -> None:
        """Take keys until cancelled."""
        while True:
            await self._work_on(await self.queue.take())

    async def _work_on(self, key: Key) -> None:
        before, record = self.store.get(key), self._record(key)
        with self.metrics.reconcile_seconds.labels(controller=key.kind).time():
            try:
                outcome = await self.reconcile(key)
            except (ClusterError, UnreachableError) as error:
                self._failed(key, "error", str(error))
            except asyncio.CancelledError:
                raise
            except Exception:  # noqa: BLE001 - of every kind
                # One broken object must not end the service of all others; it is retried, ever more rarely.
                _log.exception("reconcile failed", extra={"key": str(key)})
                self._failed(key, "panic", None)
            else:
                self._succeeded(key, outcome)
        self._tell_callers(key, before)
        if self._record(key) != record:
            self._tell_routed(key)

    def _failed(self, key: Key, result: str, message: str | None) -> None:
        self.metrics.reconciles.labels(controller=key.kind, result=result).inc()
        delay = self.queue.retry(key)
        if message:
            _log.warning(
                "reconcile failed", extra={"key": str(key), "error": message, "retry_seconds": delay}
            )

    def _succeeded(self, key: Key, outcome: Outcome) -> None:
        result = "refused" if outcome.refused else "success"
        self.metrics.reconciles.labels(controller=key.kind, result=result).inc()
        if outcome.wrote and not outcome.refused:
            # The answers to our writes are in the store already, with whatever others changed meanwhile.
            self.queue.add(key, Urgency.RETRY)
        if outcome.refused:
            self.queue.retry(key, *REFUSED_SECONDS)
        elif (delay := self._delay(key, outcome)) is None:
            self.queue.done(key)
        else:
            self.queue.again(key, delay)

    def _delay(self, key: Key, outcome: Outcome) -> float | None:
        """Seconds until another look, which nothing but time asks for."""
        if outcome.recheck is None:
            self.rechecks.pop(key, None)
            return outcome.due
        count = self.rechecks[key] = self.rechecks.get(key, 0) + 1
        longest = max(LONGEST_RECHECK, outcome.recheck)
        delay = min(outcome.recheck * PATIENCE ** min(count, 200), longest)
        return delay if outcome.due is None else min(delay, outcome.due)

    def _tell_callers(self, key: Key, before: Manifest | None) -> None:
        """Our own writes make no news, but what they change may matter to those who name the resource."""
        after = self.store.get(key)
        if before is not None and after is not None and _matters_to_callers(before, after):
            for caller in reached([key], self.store.callers):
                self._changed(caller)

    def _record(self, key: Key) -> Any:
        """What is decided about an experiment, as far as it is written."""
        if key.kind != "Experiment":
            return None
        kept = self.store.get(Key("ConfigMap", key.namespace, f"{key.name}-experiment"))
        return (kept or {}).get("data", {}).get(RECORD)

    def _tell_routed(self, experiment: Key) -> None:
        """A decision reaches the pods at once: the graph takes it from the record, models and stores as well."""
        for other in reached([experiment], self.store.called):
            if other.kind in ROUTED:
                self._changed(other)

    def _around(self, key: Key) -> set[Key]:
        """Who names a resource, directly or not, and which features it names: their status says by whom.

        Of an experiment all that it steers, and its neighbours: what one no longer holds another may have.
        """
        if key.kind not in OURS:
            return set()
        named = reached([key], self.store.called)
        told = reached([key], self.store.callers) | {other for other in named if other.kind in FEATURES}
        if key.kind == "Experiment":
            told |= {other for other in named if other.kind in ROUTED}
            told |= set(self.store.neighbours("Experiment", key.namespace))
        return told

    def noticed(self, manifest: Manifest, *, deleted: bool = False) -> None:
        """News of an object; our own echo is none."""
        key = Key(manifest["kind"], manifest["metadata"]["namespace"], manifest["metadata"]["name"])
        before, around = self.store.get(key), self._around(key)
        news = self.store.remove(key) if deleted else self.store.put(manifest)
        if news:
            self._enqueue(key, manifest, before, around | self._around(key))

    def _enqueue(self, key: Key, manifest: Manifest, before: Manifest | None, around: set[Key]) -> None:
        """`around` are those who care whether the resource is there and what it asks for."""
        if key.kind not in OURS:
            owner = owner_key(manifest)
            if owner is not None and not (key.kind == "ReplicaSet" and before is not None):
                self._changed(owner)
            return
        self._changed(key)
        if self.store.get(key) is None or before is None or _is_another(before, manifest):
            for other in self._waiting_for(key, manifest, around):
                self._changed(other)
        elif _matters_to_callers(before, manifest):
            for caller in reached([key], self.store.callers):
                self._changed(caller)

    def _waiting_for(self, key: Key, manifest: Manifest, around: set[Key]) -> set[Key]:
        """What an experiment asks for reaches the graph by its record; only its end does so at once."""
        ended = self.store.get(key) is None or manifest["metadata"].get("deletionTimestamp")
        if key.kind == "Experiment" and not ended:
            around = {other for other in around if other.kind in ("Experiment", *FEATURES)}
        return around - {key}

    def _changed(self, key: Key) -> None:
        self.rechecks.pop(key, None)
        self.queue.add(key, Urgency.CHANGE)

    def objects(self) -> Counter[tuple[str, bool]]:
        """How many resources there are, by kind and readiness."""
        found = ((key, self.store.get(key)) for key in self.store.keys(OURS))
        return Counter((key.kind, is_ready(manifest)) for key, manifest in found if manifest)

    async def compare(self, cluster: Cluster, namespaces: Iterable[str]) -> None:
        """List everything, mend the store, and look at every resource again."""
        for kind in WATCHED:
            await self._compare_kind(cluster, kind, list(namespaces) or [None])
        for key in self.store.keys(OURS):
            self.queue.add(key, Urgency.RESYNC)

    async def _compare_kind(self, cluster: Cluster, kind: str, namespaces: list[str] | list[None]) -> None:
        lists = [await list_all(cluster, kind, namespace) for namespace in namespaces]
        before = {key: self.store.get(key) for key in self.store.keys([kind])}
        listed = [manifest for items, _ in lists for manifest in items]
        changed = self.store.replace(kind, listed, min(version for _, version in lists))
        for key in changed:
            now = self.store.get(key)
            manifest = now or before.get(key)
            if manifest is not None:
                self._enqueue(key, manifest, before.get(key), self._around(key))


def _matters_to_callers(before: Manifest, after: Manifest) -> bool:
    """A graph cares for a model's contract, readiness, version and digest, not for each of its pods."""
    statuses = [manifest.get("status", {}) for manifest in (before, after)]
    versions = {(status.get("version"), status.get("sha256")) for status in statuses}
    served = len(versions) > 1 or is_ready(before) != is_ready(after)
    return _is_another(before, after) or served


def _is_another(before: Manifest, after: Manifest) -> bool:
    """Whether what is asked for changed, or that it is asked for."""
    generations = [manifest["metadata"].get("generation") for manifest in (before, after)]
    deleting = [bool(manifest["metadata"].get("deletionTimestamp")) for manifest in (before, after)]
    return len(set(generations)) > 1 or len(set(deleting)) > 1
