# SPDX-License-Identifier: Apache-2.0
"""The only reader of the cluster.

Most of what a plan needs is in the store. Two things are asked for live: an object that has the name of a child and
is not in the store (it may be someone else's, and must then be left alone), and the revision that each pod of a graph
serves, which the pods alone know.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import aiohttp

from endcap_api.v1alpha1.modeldeployment import ModelDeploymentSpec
from endcap_operator.cluster import OURS, Cluster, ClusterError, path_of, path_to
from endcap_operator.keys import Key, Manifest, controller_of
from endcap_operator.manifests.identity import PORT, SELECTOR
from endcap_operator.manifests.model import CONFIG
from endcap_operator.plan.children import CHILD_KINDS
from endcap_operator.plan.entry import children_of, models_of, resource_of
from endcap_operator.plan.facts import Observed, Referenced, Resource
from endcap_operator.plan.pods import Pod, Rejection, Serving, pod_of
from endcap_operator.store import Store

READ_BACK_TIMEOUT = aiohttp.ClientTimeout(total=1.0, connect=0.5)
READ_BACK_BYTES = 65536
OVERDUE_SECONDS = 2.0
LIST_CHUNK = 500
CHILDREN = tuple(dict.fromkeys(kind for kinds in CHILD_KINDS.values() for kind in kinds))
WATCHED = (*OURS, *CHILDREN, "ReplicaSet", "Pod")


@dataclass(frozen=True)
class Observer:
    """`noticed` remembers, for the pods of each graph, since when they have had the annotation that they have."""

    store: Store
    cluster: Cluster
    http: aiohttp.ClientSession
    noticed: dict[Key, dict[str, tuple[str | None, float]]] = field(default_factory=dict)

    async def observe(self, resource: Resource) -> Observed:
        family = self.store.family(resource.key)
        known = await self._known(resource, family)
        children = {k: m for k, m in known.items() if k in CHILDREN and _owned(m, resource.identity.uid)}
        foreign = {
            key: known[key.kind] for key in children_of(resource) if key.kind in known.keys() - children
        }
        left = [key for key, manifest in foreign.items() if _is_left(manifest, resource)]
        self.store.refer(resource.key, _called(resource))
        pods = list(_own_pods(children, family))
        if resource.key.kind == "InferenceGraph":
            pods = await self._read_back(resource.key, pods)
        return Observed(
            children=children,
            taken=tuple(key for key in foreign if key not in left),
            left=tuple(left),
            pods=tuple(pods),
            models=dict(self._models(resource)),
        )

    def forget(self, key: Key) -> None:
        self.store.refer(key, ())
        self.noticed.pop(key, None)

    async def _known(self, resource: Resource, family: Iterable[Manifest]) -> dict[str, Manifest]:
        """The objects that have the name of a child, by kind, whoever's they are."""
        known = {m["kind"]: m for m in family if m["metadata"]["name"] == resource.identity.child}
        missing = [key for key in children_of(resource) if key.kind not in known]
        found = await asyncio.gather(*map(self._live, missing))
        return known | {m["kind"]: m for m in found if m is not None}

    async def _live(self, key: Key) -> Manifest | None:
        try:
            return await self.cluster.request("GET", path_to(key))
        except ClusterError as error:
            if error.gone:
                return None
            raise

    def _models(self, resource: Resource) -> Iterator[tuple[str, Referenced]]:
        for key in _called(resource):
            manifest = self.store.get(key)
            if manifest is None or manifest["metadata"].get("deletionTimestamp"):
                continue
            spec = resource_of(manifest).spec
            if isinstance(spec, ModelDeploymentSpec):
                yield key.name, Referenced(spec, is_ready(manifest))

    async def _read_back(self, key: Key, pods: list[Pod]) -> list[Pod]:
        now = asyncio.get_running_loop().time()
        before = self.noticed.get(key, {})
        self.noticed[key] = {
            pod.uid: seen if (seen := before.get(pod.uid)) and seen[0] == pod.nudged else (pod.nudged, now)
            for pod in pods
        }
        served = await asyncio.gather(*map(self._serving, pods))
        return [
            replace(pod, serving=serving, overdue=now - self.noticed[key][pod.uid][1] > OVERDUE_SECONDS)
            for pod, serving in zip(pods, served, strict=True)
        ]

    async def _serving(self, pod: Pod) -> Serving | None:
        """None where a pod cannot be asked: it may be starting, or out of reach of the operator."""
        if not (pod.running and pod.address):
            return None
        host = f"[{pod.address}]" if ":" in pod.address else pod.address
        try:
            async with self.http.get(f"http://{host}:{PORT}/-/revision", timeout=READ_BACK_TIMEOUT) as answer:
                return _serving(json.loads(await answer.content.read(READ_BACK_BYTES)))
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError, KeyError, TypeError):
            return None


def _serving(answer: dict[str, Any]) -> Serving:
    rejected = answer.get("rejected")
    refused = (
        Rejection(*(str(rejected[name]) for name in ("revision", "reason", "message"))) if rejected else None
    )
    return Serving(answer["serving"], refused)


def _called(resource: Resource) -> list[Key]:
    namespace = resource.identity.namespace
    return [Key("ModelDeployment", namespace, name) for name in models_of(resource)]


def _owned(manifest: Manifest, uid: str) -> bool:
    return bool(controller_of(manifest).get("uid") == uid)


def _is_left(manifest: Manifest, resource: Resource) -> bool:
    """Whether an earlier resource of this kind and name owned it."""
    owner = controller_of(manifest)
    return (owner.get("kind"), owner.get("name")) == (resource.key.kind, resource.key.name)


def _own_pods(children: dict[str, Manifest], family: Iterable[Manifest]) -> Iterator[Pod]:
    """Pods of our Deployment, by the owners of their owners: labels can be had by anyone."""
    deployment = children.get("Deployment")
    if deployment is None:
        return
    members = sorted(family, key=lambda m: str(m["metadata"]["name"]))
    sets = [m for m in members if m["kind"] == "ReplicaSet" and _owned(m, deployment["metadata"]["uid"])]
    uids = {m["metadata"]["uid"] for m in sets}
    for member in members:
        ours = member["kind"] == "Pod" and controller_of(member).get("uid") in uids
        if ours and not member["metadata"].get("deletionTimestamp"):
            yield pod_of(member, CONFIG)


def is_ready(manifest: Manifest) -> bool:
    conditions = manifest.get("status", {}).get("conditions") or ()
    return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)


async def list_all(cluster: Cluster, kind: str, namespace: str | None) -> tuple[list[Manifest], int]:
    """Every object of a kind that matters to us, and the version of the cluster that the list shows."""
    selector = {} if kind in OURS else {"labelSelector": SELECTOR}
    query = {"limit": str(LIST_CHUNK), **selector}
    items: list[Manifest] = []
    while True:
        page = await cluster.request("GET", path_of(kind, namespace), query)
        api_version = page["apiVersion"]
        items += [{**item, "apiVersion": api_version, "kind": kind} for item in page["items"]]
        if not (more := page["metadata"].get("continue")):
            return items, int(page["metadata"]["resourceVersion"])
        query["continue"] = more
