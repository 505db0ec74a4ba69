# SPDX-License-Identifier: Apache-2.0
"""The one reconciliation: it serves creation, change, drift, restart and resync alike."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, NamedTuple

from endcap_operator.apply import Applied, Writer
from endcap_operator.events import Recorder
from endcap_operator.keys import Key, Manifest
from endcap_operator.metrics import Metrics
from endcap_operator.observe import Observer
from endcap_operator.plan.conditions import with_refusals
from endcap_operator.plan.entry import plan_for, resource_of
from endcap_operator.plan.facts import Observed, Plan, Resource
from endcap_operator.platform import Platform
from endcap_operator.status import reported, transitions
from endcap_operator.store import Store


class Outcome(NamedTuple):
    """When to look again, in seconds: ever more rarely, and at the latest; what was refused, and written."""

    recheck: float | None = None
    due: float | None = None
    refused: bool = False
    wrote: bool = False


@dataclass(frozen=True)
class Reconciliation:
    """Brings the cluster one step nearer to what a resource asks for; raises what may pass by itself."""

    store: Store
    observer: Observer
    writer: Writer
    recorder: Recorder
    platform: Platform
    metrics: Metrics

    async def __call__(self, key: Key) -> Outcome:
        manifest = self.store.get(key)
        if manifest is None or manifest["metadata"].get("deletionTimestamp"):
            self.observer.forget(key)
            return Outcome()
        resource = resource_of(manifest)
        observed = await self.observer.observe(resource)
        plan = plan_for(resource, observed, self.platform)
        applied = await self.writer.apply(plan, observed, settled=_settled(manifest, observed))
        told = await self._report(resource, _reportable(resource, plan, observed, applied), manifest)
        await self._tell_restored(resource, applied)
        for event in plan.events if not applied.refused else ():
            await self.recorder.tell(resource.identity, event.reason, event.note, warning=event.warning)
        return Outcome(plan.recheck, plan.due, bool(applied.refused), wrote=told or not applied.idle)

    async def _report(self, resource: Resource, planned: dict[str, Any], manifest: Manifest) -> bool:
        """Whether the status is news."""
        before = manifest.get("status") or {}
        status = reported(planned, before, datetime.now(UTC))
        if status == before:
            return False
        await self.writer.report(resource.key, resource.identity.uid, status, before)
        for warning, condition in transitions(planned, before):
            await self.recorder.tell(
                resource.identity, condition["reason"], condition["message"], warning=warning
            )
        return True

    async def _tell_restored(self, resource: Resource, applied: Applied) -> None:
        for key in applied.restored:
            self.metrics.drift.labels(kind=key.kind).inc()
            note = f"{key.kind} {key.name} was changed or deleted by someone, and is restored."
            await self.recorder.tell(resource.identity, "ChildRestored", note, warning=False)


def _reportable(resource: Resource, plan: Plan, observed: Observed, applied: Applied) -> dict[str, Any]:
    """An experiment says nothing that is not in its record: what could not be written was not decided."""
    status = plan.status
    refused = {refusal.key.kind for refusal in applied.refused}
    if resource.key.kind == "Experiment" and "ConfigMap" in refused:
        kept = {
            n: v for n, v in observed.measured.status.items() if n not in ("conditions", "observedGeneration")
        }
        status = {**kept, **{n: v for n, v in status.items() if n in ("conditions", "observedGeneration")}}
    return with_refusals(status, applied.refused)


def _settled(manifest: Manifest, observed: Observed) -> bool:
    """Whether this generation was acted on before, so that a child that is missing was there."""
    acted_on = (manifest.get("status") or {}).get("observedGeneration")
    return bool(observed.children) and acted_on == manifest["metadata"]["generation"]
