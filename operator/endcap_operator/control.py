# SPDX-License-Identifier: Apache-2.0
"""Workers that take keys from the queue, and the comparison with the cluster that no watch can replace."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from endcap_operator.cluster import OURS, Cluster, ClusterError, UnreachableError
from endcap_operator.keys import Key, Manifest
from endcap_operator.metrics import Metrics
from endcap_operator.observe import WATCHED, is_ready, list_all
from endcap_operator.reconcile import Outcome, Reconciliation
from endcap_operator.store import Store, owner_key
from endcap_operator.workqueue import Urgency, WorkQueue

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
        before = self.store.get(key)
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
        elif outcome.recheck is None:
            self.rechecks.pop(key, None)
            self.queue.done(key)
        else:
            count = self.rechecks[key] = self.rechecks.get(key, 0) + 1
            self.queue.again(key, min(outcome.recheck * PATIENCE ** min(count, 200), LONGEST_RECHECK))

    def _tell_callers(self, key: Key, before: Manifest | None) -> None:
        """Our own writes make no news, but what they change may matter to those who name the resource."""
        after = self.store.get(key)
        if before is not None and after is not None and _matters_to_callers(before, after):
            for caller in self.store.callers(key):
                self._changed(caller)

    def noticed(self, manifest: Manifest, *, deleted: bool = False) -> None:
        """News of an object; our own echo is none."""
        key = Key(manifest["kind"], manifest["metadata"]["namespace"], manifest["metadata"]["name"])
        before = self.store.get(key)
        news = self.store.remove(key) if deleted else self.store.put(manifest)
        if news:
            self._enqueue(key, manifest, before, deleted=deleted)

    def _enqueue(self, key: Key, manifest: Manifest, before: Manifest | None, *, deleted: bool) -> None:
        if key.kind not in OURS:
            owner = owner_key(manifest)
            if owner is not None and not (key.kind == "ReplicaSet" and before is not None):
                self._changed(owner)
            return
        self._changed(key)
        if deleted or before is None or _matters_to_callers(before, manifest):
            for caller in self.store.callers(key):
                self._changed(caller)

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
                self._enqueue(key, manifest, before.get(key), deleted=now is None)


def _matters_to_callers(before: Manifest, after: Manifest) -> bool:
    """A graph cares for a model's contract and readiness, not for each of its pods."""
    generations = [manifest["metadata"].get("generation") for manifest in (before, after)]
    deleting = [bool(manifest["metadata"].get("deletionTimestamp")) for manifest in (before, after)]
    return len(set(generations)) > 1 or len(set(deleting)) > 1 or is_ready(before) != is_ready(after)
