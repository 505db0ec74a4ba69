# SPDX-License-Identifier: Apache-2.0
"""Events: what people see in `kubectl describe` when something changed.

An event's name is made from what it says, so that saying the same again counts up instead of piling up, and a
restart of the operator says nothing new.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from endcap_api.digest import digest_of
from endcap_api.v1alpha1.kinds import API_VERSION
from endcap_operator.cluster import MERGE, Cluster, ClusterError, UnreachableError, path_of
from endcap_operator.manifests.identity import Identity

_CONTROLLER = "endcap.dev/operator"
_LONGEST = 1000
_MEMORY = 10_000
_log = logging.getLogger("endcap.operator.events")


@dataclass(frozen=True)
class Recorder:
    """Writes events; `instance` is the name of the operator's pod."""

    cluster: Cluster
    instance: str
    counts: dict[str, int] = field(default_factory=dict)

    async def tell(self, identity: Identity, reason: str, note: str, *, warning: bool) -> None:
        """An event that cannot be written is logged and never holds up a reconciliation."""
        event = _event(identity, reason, note[:_LONGEST], warning=warning, instance=self.instance)
        try:
            await self._write(event)
        except (ClusterError, UnreachableError) as error:
            if isinstance(error, ClusterError) and error.ending:
                return
            _log.warning("event not written", extra={"reason": reason, "error": str(error)})

    async def _write(self, event: dict[str, Any]) -> None:
        namespace, name = event["metadata"]["namespace"], event["metadata"]["name"]
        count = self.counts[name] = self.counts.get(name, 0) + 1
        if len(self.counts) > _MEMORY:
            self.counts.clear()
        if count > 1 or not await self._is_new(namespace, event):
            self.counts[name] = max(count, 2)
            await self._count_up(namespace, name, event)

    async def _is_new(self, namespace: str, event: Mapping[str, Any]) -> bool:
        """False when it was said before an earlier restart."""
        try:
            await self.cluster.request("POST", path_of("Event", namespace), body=event)
        except ClusterError as error:
            if error.code == 409:  # noqa: PLR2004
                return False
            raise
        return True

    async def _count_up(self, namespace: str, name: str, event: Mapping[str, Any]) -> None:
        series = {"count": self.counts[name], "lastObservedTime": event["eventTime"]}
        path = path_of("Event", namespace, name)
        try:
            await self.cluster.request("PATCH", path, body={"series": series}, content_type=MERGE)
        except ClusterError as error:
            if not error.gone:
                raise
            await self.cluster.request("POST", path_of("Event", namespace), body=event)


def _event(identity: Identity, reason: str, note: str, *, warning: bool, instance: str) -> dict[str, Any]:
    name = f"{identity.name}.{digest_of([identity.uid, reason, note])}"
    return {
        "apiVersion": "events.k8s.io/v1",
        "kind": "Event",
        "metadata": {"name": name, "namespace": identity.namespace},
        "eventTime": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        "reportingController": _CONTROLLER,
        "reportingInstance": instance,
        "action": "Reconcile",
        "reason": reason,
        "regarding": {
            "apiVersion": API_VERSION,
            "kind": identity.kind,
            "namespace": identity.namespace,
            "name": identity.name,
            "uid": identity.uid,
        },
        "note": note,
        "type": "Warning" if warning else "Normal",
    }
