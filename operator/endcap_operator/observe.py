# SPDX-License-Identifier: Apache-2.0
"""The only reader of the cluster.

Most of what a plan needs is in the store. Two things are asked for live: an object that has the name of a child and
is not in the store (it may be someone else's, and must then be left alone), and what pods alone know.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from endcap_api.experiment_config import experiment_id
from endcap_api.v1alpha1.base import Element
from endcap_api.v1alpha1.experiment import ExperimentSpec
from endcap_api.v1alpha1.featureview import FeatureViewSpec
from endcap_operator.asking import Pages
from endcap_operator.cluster import OURS, Cluster, ClusterError, path_of, path_to
from endcap_operator.keys import Key, Manifest, controller_of, key_of
from endcap_operator.looks import Looks
from endcap_operator.manifests.configuration import RECORD
from endcap_operator.manifests.identity import SELECTOR, Identity
from endcap_operator.manifests.model import CONFIG
from endcap_operator.plan.children import CHILD_KINDS, possible_children
from endcap_operator.plan.configuration import data_of
from endcap_operator.plan.entry import children_of, resource_of
from endcap_operator.plan.experiment.record import read_record
from endcap_operator.plan.facts import Away, Measured, Observed, Referenced, Report, Resource
from endcap_operator.plan.pods import Pod, pod_of
from endcap_operator.plan.references import FEATURES, reached
from endcap_operator.store import Store

OVERDUE_SECONDS = 2.0
LIST_CHUNK = 500
# Their pods have a page that tells which configuration they serve.
CONFIGURED = ("graph", "ingest")
# Whose plans depend on how experiments share them out.
ROUTED = ("InferenceGraph", "Experiment")
CHILDREN = tuple(dict.fromkeys(kind for kinds in CHILD_KINDS.values() for kind in kinds))
WATCHED = (*OURS, *CHILDREN, "ReplicaSet", "Pod")
Children = Mapping[Key, Manifest]


@dataclass(frozen=True)
class Observer:
    """`noticed` remembers, for the pods of each resource, since when they have had the annotation that they have."""

    store: Store
    cluster: Cluster
    pages: Pages
    looks: Looks
    noticed: dict[Key, dict[str, tuple[str | None, float]]] = field(default_factory=dict)

    async def observe(self, resource: Resource) -> Observed:
        family = self.store.family(resource.key)
        known = await self._known(resource, family)
        children = _own(known, resource.identity.uid)
        foreign = {key: known[key] for key in children_of(resource) if key in known.keys() - children.keys()}
        left = [key for key, manifest in foreign.items() if _is_left(manifest, resource)]
        pods = await self._read_back(resource.key, list(_own_pods(children, family)))
        report = await self._report(resource, pods)
        return Observed(
            children=children,
            taken=tuple(key for key in foreign if key not in left),
            left=tuple(left),
            pods=tuple(pods),
            resources=dict(self._resources(self._related(resource.key))),
            callers=tuple(sorted(self.store.callers(resource.key))),
            report=report if isinstance(report, Report) else None,
            away=report if isinstance(report, Away) else None,
            measured=await self._measured(resource),
            now_ms=time.time_ns() // 1_000_000,
        )

    def forget(self, key: Key) -> None:
        self.noticed.pop(key, None)
        self.pages.forget(key)
        self.looks.forget(key)

    async def _known(self, resource: Resource, family: Iterable[Manifest]) -> dict[Key, Manifest]:
        """The objects that have the name of a child, whoever's they are."""
        known = _children_in(resource.identity, family)
        missing = [key for key in children_of(resource) if key not in known]
        found = await asyncio.gather(*map(self._live, missing))
        return known | {key: m for key, m in zip(missing, found, strict=True) if m is not None}

    async def _live(self, key: Key) -> Manifest | None:
        try:
            return await self.cluster.request("GET", path_to(key))
        except ClusterError as error:
            if error.gone:
                return None
            raise

    def _related(self, key: Key) -> set[Key]:
        """What a resource names, directly or not; of features also what names it, and what that names.

        Besides the experiments that matter to it: of a graph and of an experiment all, itself as well, since they may
        be at odds.
        """
        named = reached([key], self.store.called)
        if key.kind in FEATURES:
            naming = reached([key], self._features_naming)
            named |= naming | reached(naming, self.store.called)
        if key.kind in ROUTED:
            named |= self._experiments_beside(key)
        elif key.kind in ("ModelDeployment", "FeatureStore"):
            named |= {other for other in reached([key], self.store.callers) if other.kind == "Experiment"}
        return named if key.kind == "Experiment" else named - {key}

    def _experiments_beside(self, key: Key) -> set[Key]:
        """With the models of those that overlay the graph."""
        experiments = self.store.neighbours("Experiment", key.namespace)
        overlaying = [other for other in experiments if key in self.store.called(other)]
        return {*experiments, *reached(overlaying, self.store.called)}

    def _features_naming(self, key: Key) -> list[Key]:
        return [caller for caller in self.store.callers(key) if caller.kind in FEATURES]

    def _resources(self, keys: Iterable[Key]) -> Iterator[tuple[Key, Referenced]]:
        for key in keys:
            manifest = self.store.get(key)
            if manifest is None or manifest["metadata"].get("deletionTimestamp"):
                continue
            spec = resource_of(manifest).spec
            if spec is not None:
                yield key, self._referenced(spec, manifest)

    def _referenced(self, spec: Element, manifest: Manifest) -> Referenced:
        metadata, status = manifest["metadata"], manifest.get("status", {})
        return Referenced(
            spec,
            is_ready(manifest),
            version=status.get("version"),
            sha256=status.get("sha256"),
            uid=metadata["uid"],
            created=metadata.get("creationTimestamp") or "",
            record=self._data_of(key_of(manifest)).get(RECORD)
            if key_of(manifest).kind == "Experiment"
            else None,
        )

    async def _read_back(self, key: Key, pods: list[Pod]) -> list[Pod]:
        asked = [pod for pod in pods if pod.component in CONFIGURED]
        if not asked:
            return pods
        now, since = asyncio.get_running_loop().time(), self._since(key, asked)
        served = await asyncio.gather(*map(self.pages.serving, asked))
        answered = [
            replace(pod, serving=serving, overdue=now - since[pod.uid][1] > OVERDUE_SECONDS)
            for pod, serving in zip(asked, served, strict=True)
        ]
        return [*answered, *(pod for pod in pods if pod.component not in CONFIGURED)]

    def _since(self, key: Key, pods: Iterable[Pod]) -> dict[str, tuple[str | None, float]]:
        now, before = asyncio.get_running_loop().time(), self.noticed.get(key, {})
        self.noticed[key] = {
            pod.uid: seen if (seen := before.get(pod.uid)) and seen[0] == pod.nudged else (pod.nudged, now)
            for pod in pods
        }
        return self.noticed[key]

    async def _report(self, resource: Resource, pods: Iterable[Pod]) -> Report | Away | None:
        if resource.key.kind == "FeatureStore":
            return await self.pages.report(resource.key, _ingesting(pods))
        if not isinstance(resource.spec, FeatureViewSpec):
            return None
        store = Key("FeatureStore", resource.identity.namespace, resource.spec.store)
        return await self.pages.report(store, self._ingest_pods(store))

    async def _measured(self, resource: Resource) -> Measured:
        spec, namespace = resource.spec, resource.identity.namespace
        if not isinstance(spec, ExperimentSpec):
            return Measured()
        graph, identity = Key("InferenceGraph", namespace, spec.graph), experiment_id(resource.identity.uid)
        record = read_record(self._data_of(resource.key).get(RECORD), identity)
        ingest = self._ingest_pods(Key("FeatureStore", namespace, spec.store)) if spec.store else []
        status = (self.store.get(resource.key) or {}).get("status") or {}
        found = await self.looks.measured(resource, status, record, self._pods_of(graph), ingest)
        return replace(found, told=self._data_of(graph), status=status)

    def _data_of(self, key: Key) -> Mapping[str, str]:
        """Of the ConfigMap that is the resource's own: one of the same name can be made by anyone."""
        manifest = self.store.get(key)
        if manifest is None:
            return {}
        identity = resource_of(manifest).identity
        kept = self.store.get(identity.key("ConfigMap"))
        return data_of(kept) if kept is not None and _owned(kept, identity.uid) else {}

    def _ingest_pods(self, store: Key) -> list[Pod]:
        return _ingesting(self._pods_of(store))

    def _pods_of(self, key: Key) -> list[Pod]:
        manifest = self.store.get(key)
        if manifest is None:
            return []
        family, identity = self.store.family(key), resource_of(manifest).identity
        return list(_own_pods(_own(_children_in(identity, family), identity.uid), family))


def _ingesting(pods: Iterable[Pod]) -> list[Pod]:
    return [pod for pod in pods if pod.component == "ingest"]


def _children_in(identity: Identity, family: Iterable[Manifest]) -> dict[Key, Manifest]:
    names = set(possible_children(identity))
    return {key: manifest for manifest in family if (key := key_of(manifest)) in names}


def _own(known: Children, uid: str) -> dict[Key, Manifest]:
    return {key: manifest for key, manifest in known.items() if _owned(manifest, uid)}


def _owned(manifest: Manifest, uid: str) -> bool:
    return bool(controller_of(manifest).get("uid") == uid)


def _is_left(manifest: Manifest, resource: Resource) -> bool:
    """Whether an earlier resource of this kind and name owned it."""
    owner = controller_of(manifest)
    return (owner.get("kind"), owner.get("name")) == (resource.key.kind, resource.key.name)


def _own_pods(children: Children, family: Iterable[Manifest]) -> Iterator[Pod]:
    """Pods of our Deployments, by the owners of their owners: labels can be had by anyone."""
    deployments = {m["metadata"]["uid"] for m in children.values() if m["kind"] == "Deployment"}
    members = sorted(family, key=lambda m: str(m["metadata"]["name"]))
    sets = [m for m in members if m["kind"] == "ReplicaSet" and controller_of(m).get("uid") in deployments]
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
