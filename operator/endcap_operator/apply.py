# SPDX-License-Identifier: Apache-2.0
"""The only writer of the cluster.

Children are written by server-side apply, and only when they are not already as wanted. An object that exists is
written with its UID, so that one that someone else put in its place meanwhile is refused instead of taken over.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from endcap_operator.cluster import APPLY, JSON_PATCH, MERGE, Cluster, ClusterError, path_of, path_to
from endcap_operator.drift import covers, stamped, was_applied
from endcap_operator.keys import Key, Manifest, key_of
from endcap_operator.manifests.identity import MANAGER
from endcap_operator.plan.facts import NewSecret, Nudge, Observed, Patch, Plan
from endcap_operator.plan.pods import REVISION
from endcap_operator.status import merge_patch
from endcap_operator.store import Store

SECRET_BYTES = 24
SEEDER = "endcap-seed"
PROMOTER = "endcap-promotion"
STRICT = {"fieldValidation": "Strict", "force": "true"}


class Refusal(NamedTuple):
    """A child that the API server does not grant, in its own words."""

    key: Key
    message: str


class Written(NamedTuple):
    """A child that was written; `restored` when someone had changed or deleted it."""

    key: Key
    restored: bool


@dataclass(frozen=True)
class Applied:
    """What a round of writing came to; `idle` when there was nothing to write."""

    refused: tuple[Refusal, ...]
    restored: tuple[Key, ...]
    idle: bool


@dataclass(frozen=True)
class Writer:
    """Writes, and tells the store what came of it."""

    store: Store
    cluster: Cluster

    async def apply(self, plan: Plan, observed: Observed, *, settled: bool) -> Applied:
        """`settled` says that these children existed before, so that a missing one was deleted by someone.

        The configuration comes first, since pods are nudged towards it and started with it.
        """
        first = [m for m in plan.manifests if m["kind"] == "ConfigMap"]
        rest = [m for m in plan.manifests if m["kind"] != "ConfigMap"]
        round_ = _Round(self, observed, plan.seed, settled)
        outcomes = [await round_.secret(each) for each in plan.secrets]
        outcomes += [await round_.child(m) for m in first]
        outcomes += await asyncio.gather(*map(round_.child, rest))
        await asyncio.gather(*map(self._prune, plan.prune), *map(self._nudge, plan.nudge))
        if plan.patch and not any(isinstance(outcome, Refusal) for outcome in outcomes):
            outcomes.append(await self._patch(plan.patch))
        return Applied(
            refused=tuple(o for o in outcomes if isinstance(o, Refusal)),
            restored=tuple(o.key for o in outcomes if isinstance(o, Written) and o.restored),
            idle=not any((*outcomes, *plan.prune, *plan.nudge)),
        )

    async def put(self, manifest: Manifest, manager: str = MANAGER) -> Manifest:
        """Server-side apply; the store knows the result before the informer does."""
        written = await self.cluster.request(
            "PATCH",
            path_to(key_of(manifest)),
            query={"fieldManager": manager, **STRICT},
            body=manifest,
            content_type=APPLY,
        )
        self.store.put(written)
        return written

    async def mend(self, manifest: Manifest) -> Manifest:
        """Replace our lists as a whole, where what someone put beside our items is at odds with them."""
        query = {"fieldManager": MANAGER, "fieldValidation": "Strict"}
        written = await self.cluster.request(
            "PATCH", path_to(key_of(manifest)), query=query, body=manifest, content_type=MERGE
        )
        self.store.put(written)
        return written

    async def _prune(self, child: Manifest) -> None:
        body = {"preconditions": {"uid": child["metadata"]["uid"]}, "propagationPolicy": "Background"}
        key = key_of(child)
        try:
            await self.cluster.request("DELETE", path_to(key), body=body)
        except ClusterError as error:
            if not error.gone:
                raise
        self.store.remove(key)

    async def _nudge(self, nudge: Nudge) -> None:
        pod = nudge.pod
        body = {"metadata": {"uid": pod.uid, "annotations": {REVISION: nudge.value}}}
        try:
            written = await self.cluster.request(
                "PATCH", path_of("Pod", pod.namespace, pod.name), body=body, content_type=MERGE
            )
        except ClusterError as error:
            if not error.stale:
                raise
            return
        self.store.put(written)

    async def _patch(self, patch: Patch) -> Refusal | None:
        """Refused when its author was faster, too: it is looked at again by then.

        The store is not told: that a resource of ours changed is news to all who name it.
        """
        try:
            await self.cluster.request(
                "PATCH",
                path_to(patch.key),
                query={"fieldManager": PROMOTER, "fieldValidation": "Strict"},
                body=list(patch.operations),
                content_type=JSON_PATCH,
            )
        except ClusterError as error:
            return _refusal(patch.key, error)
        return None

    async def report(self, key: Key, uid: str, status: Mapping[str, Any], before: Mapping[str, Any]) -> None:
        """One write of the whole status; what is no longer said is removed."""
        body = {"metadata": {"uid": uid}, "status": merge_patch(before, status)}
        written = await self.cluster.request(
            "PATCH",
            path_to(key, "status"),
            query={"fieldManager": MANAGER, "fieldValidation": "Strict"},
            body=body,
            content_type=MERGE,
        )
        self.store.put(written)


@dataclass(frozen=True)
class _Round:
    """The children of one resource in one reconciliation."""

    writer: Writer
    observed: Observed
    seed: int | None
    settled: bool

    async def child(self, manifest: dict[str, Any]) -> Refusal | Written | None:
        """None when the child is as wanted, or its namespace goes."""
        live = self.observed.children.get(key_of(manifest))
        wanted = stamped(manifest)
        if live is not None and covers(live, wanted):
            return None
        try:
            await self._write(wanted, live)
        except ClusterError as error:
            if error.stale:
                self.writer.store.remove(key_of(manifest))
            return _refusal(key_of(manifest), error)
        restored = was_applied(live, wanted) if live is not None else self.settled
        return Written(key_of(manifest), restored)

    async def secret(self, new: NewSecret) -> Refusal | Written | None:
        """Make a Secret with a text of its own; one that is there is never looked at."""
        manifest = new.manifest
        text = {**manifest["stringData"], new.key: secrets.token_urlsafe(SECRET_BYTES)}
        path = path_of("Secret", manifest["metadata"]["namespace"])
        try:
            await self.writer.cluster.request("POST", path, body={**manifest, "stringData": text})
        except ClusterError as error:
            return None if error.exists else _refusal(key_of(manifest), error)
        return Written(key_of(manifest), restored=False)

    async def _write(self, wanted: dict[str, Any], live: Manifest | None) -> None:
        scaled = wanted["kind"] == "Deployment" and "replicas" not in wanted["spec"]
        seeds = scaled and self.seed is not None
        if live is not None:
            wanted = {**wanted, "metadata": {**wanted["metadata"], **_seen(live)}}
            if seeds:
                await self._hold(wanted)
        try:
            await self.writer.put(wanted)
        except ClusterError as error:
            if live is None or not error.invalid:
                raise
            await self.writer.mend(wanted)
        if seeds and live is None:
            await self._hold(wanted)

    async def _hold(self, deployment: Mapping[str, Any]) -> None:
        """Own the number of replicas under another name, until the autoscaler takes it over."""
        metadata = {name: deployment["metadata"][name] for name in ("name", "namespace")}
        seed = {**{n: deployment[n] for n in ("apiVersion", "kind")}, "metadata": metadata}
        await self.writer.put({**seed, "spec": {"replicas": self.seed}}, manager=SEEDER)


def _seen(live: Manifest) -> dict[str, str]:
    """What the API server compares. A record holds what was decided, so a decision that was made from an older one, by
    an operator that is about to end, must not be written over it.
    """
    names = ("uid", "resourceVersion") if live["kind"] == "ConfigMap" else ("uid",)
    return {name: live["metadata"][name] for name in names}


def _refusal(key: Key, error: ClusterError) -> Refusal | None:
    """Raises what is no refusal; None where the namespace goes."""
    if not error.refused:
        raise error
    return None if error.ending else Refusal(key, error.message)
