# SPDX-License-Identifier: Apache-2.0
"""What would change in a cluster, object by object, as the API server works it out in a dry run."""

from __future__ import annotations

import copy
import difflib
import json
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import yaml

from endcap_api.v1alpha1.kinds import KINDS, parse
from endcap_cli.cluster import NOT_FOUND, Cluster, Refused
from endcap_cli.planning import NO_UID, Images, as_resource, referenced, waiting
from endcap_cli.references import EXPERIMENT
from endcap_cli.workspace import Read, Workspace
from endcap_operator.keys import Key, controller_of, key_of
from endcap_operator.manifests.configuration import RECORD
from endcap_operator.plan.children import possible_children, wanted_children
from endcap_operator.plan.configuration import data_of
from endcap_operator.plan.entry import plan_for
from endcap_operator.plan.facts import Measured, Observed, Plan, Referenced, Resource
from endcap_operator.platform import Platform
from endcap_operator.settings import Settings, SettingsError

OPERATOR_NAMESPACE = "endcap-system"
_VERBS = {"+": "create", "~": "change", "-": "delete", "=": "keep", "?": "wait", "!": "refused"}
# What the API server and the operator keep for themselves.
_HOUSEKEEPING = ("managedFields", "resourceVersion", "generation", "uid", "creationTimestamp", "annotations")


@dataclass(frozen=True)
class Change:
    """`sign` is + create, ~ change, - delete, = keep, ? wait or ! refused; `lines` say what differs, or why."""

    sign: str
    object: str
    lines: tuple[str, ...] = ()

    @property
    def verb(self) -> str:
        return _VERBS[self.sign]

    @property
    def refusal(self) -> bool:
        return self.sign == "!"


def changes(workspace: Workspace, cluster: Cluster, images: Images) -> Iterator[Change]:
    """Of each resource and then of its children. Reads only."""
    platform = images.platform(_platform_of(cluster))
    for read in workspace.reads:
        live = cluster.get(read.manifest.data["kind"], read.manifest.namespace, read.manifest.name)
        yield _resource_change(read, live)
        yield from _children_changes(read, live, workspace, cluster, platform)


def summary(found: Sequence[Change]) -> str:
    counts = Counter(change.sign for change in found)
    parts = [f"{counts[sign]} to {_VERBS[sign]}" for sign in "+~-"]
    parts += [f"{counts['=']} as wanted"]
    parts += [f"{counts[sign]} {word}" for sign, word in (("?", "waiting"), ("!", "refused")) if counts[sign]]
    return ", ".join(parts)


def _platform_of(cluster: Cluster) -> Platform | None:
    """What the operator in the cluster was told, if it can be seen."""
    try:
        deployments = cluster.all_of("Deployment", OPERATOR_NAMESPACE)
    except Refused:
        return None
    for deployment in deployments:
        for container in deployment["spec"]["template"]["spec"]["containers"]:
            environment = {entry["name"]: entry.get("value", "") for entry in container.get("env", ())}
            if "ENDCAP_IMAGES" in environment:
                return _settings(environment)
    return None


def _settings(environment: Mapping[str, str]) -> Platform | None:
    try:
        return Settings.read(environment).platform
    except SettingsError:
        return None


def _resource_change(read: Read, live: Mapping[str, Any] | None) -> Change:
    """The spec alone: the rest is what other tools say about it."""
    name = f"{read.manifest.resource} in {read.manifest.namespace}"
    if live is None:
        return Change("+", name)
    lines = _difference(live["spec"], parse(read.manifest.data).dump())
    return Change("~" if lines else "=", name, lines)


def _children_changes(
    read: Read, live: Mapping[str, Any] | None, workspace: Workspace, cluster: Cluster, platform: Platform
) -> Iterator[Change]:
    metadata = (live or {}).get("metadata", {})
    resource = as_resource(read, metadata.get("uid", NO_UID), metadata.get("generation", 1))
    observed = _observed(resource, workspace, cluster, (live or {}).get("status") or {})
    plan = plan_for(resource, observed, platform)
    if notes := waiting(plan):
        name = f"{read.manifest.resource} in {read.manifest.namespace}"
        yield Change("!" if observed.taken else "?", name, notes)
    yield from _planned_changes(plan, observed, cluster)


def _planned_changes(plan: Plan, observed: Observed, cluster: Cluster) -> Iterator[Change]:
    for manifest in plan.manifests:
        yield _child_change(manifest, observed.children.get(key_of(manifest)), cluster)
    for child in plan.prune:
        yield Change("-", _name(child))
    for secret in plan.secrets:
        yield Change(
            "?", _name(secret.manifest), (f"made once, with a {secret.key} of its own, unless it is there",)
        )


def _observed(
    resource: Resource, workspace: Workspace, cluster: Cluster, status: Mapping[str, Any]
) -> Observed:
    identity = resource.identity
    children = {key: child for key in possible_children(identity) if (child := _live(key, cluster))}
    own = {key: child for key, child in children.items() if controller_of(child).get("uid") == identity.uid}
    return Observed(
        children=own,
        taken=tuple(key for key in wanted_children(identity, resource.spec) if key in children.keys() - own),
        resources=_resources(identity.namespace, workspace, cluster),
        measured=Measured(status=status),
        now_ms=time.time_ns() // 1_000_000,
    )


def _resources(namespace: str, workspace: Workspace, cluster: Cluster) -> dict[Key, Referenced]:
    """As in the files where they have one; what only the cluster knows of it, as there."""
    live = dict(_others(namespace, cluster))
    planned = referenced(workspace, namespace)
    return {**live, **{key: replace(live.get(key, one), spec=one.spec) for key, one in planned.items()}}


def _live(key: Key, cluster: Cluster) -> dict[str, Any] | None:
    """With its kind, which the API server leaves out of some answers."""
    found = cluster.get(*key)
    return {**found, "kind": key.kind} if found else None


def _others(namespace: str, cluster: Cluster) -> Iterator[tuple[Key, Referenced]]:
    """Every resource of ours in the namespace: planning takes what it needs."""
    for kind in KINDS:
        for live in cluster.all_of(kind, namespace):
            key = Key(kind, namespace, live["metadata"]["name"])
            yield key, _referenced(key, live, cluster)


def _referenced(key: Key, live: Mapping[str, Any], cluster: Cluster) -> Referenced:
    metadata, status = live["metadata"], live.get("status", {})
    kept = (
        cluster.get("ConfigMap", key.namespace, f"{key.name}-experiment") if key.kind == EXPERIMENT else None
    )
    return Referenced(
        parse({"kind": key.kind, "spec": live["spec"]}),
        ready=True,
        version=status.get("version"),
        sha256=status.get("sha256"),
        uid=metadata["uid"],
        created=metadata["creationTimestamp"],
        record=data_of(kept).get(RECORD),
    )


def _child_change(manifest: dict[str, Any], live: Mapping[str, Any] | None, cluster: Cluster) -> Change:
    try:
        wanted = cluster.would_become(manifest)
    except Refused as refused:
        if live is None and refused.status == NOT_FOUND:  # its namespace is to be made as well
            return Change("+", _name(manifest))
        return Change("!", _name(manifest), (str(refused),))
    if live is None:
        return Change("+", _name(manifest))
    lines = _difference(_readable(live), _readable(wanted))
    return Change("~" if lines else "=", _name(manifest), lines)


def _name(manifest: Mapping[str, Any]) -> str:
    return f"{manifest['kind']}/{manifest['metadata']['name']} in {manifest['metadata']['namespace']}"


def _difference(before: Any, after: Any) -> tuple[str, ...]:
    old, new = (yaml.safe_dump(_plain(value), width=120).splitlines() for value in (before, after))
    return tuple(difflib.unified_diff(old, new, lineterm="", n=2))[2:]


def _plain(value: Any) -> Any:
    """The API server makes no difference between 50 and 50.0."""
    if isinstance(value, Mapping):
        return {name: _plain(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_plain(inner) for inner in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _readable(child: Mapping[str, Any]) -> dict[str, Any]:
    """Without housekeeping, and with the configurations inside as objects, so that a difference shows its field."""
    shown: dict[str, Any] = copy.deepcopy(
        {k: v for k, v in child.items() if k not in ("status", "kind", "apiVersion")}
    )
    for name in _HOUSEKEEPING:
        shown["metadata"].pop(name, None)
    data = shown.get("data") or {}
    for name in ("last-good.json", "last-good-features.json"):
        data.pop(name, None)
    for name in data:
        data[name] = _parsed(data[name])
    template = shown.get("spec", {}).get("template")
    return {
        **shown,
        **({"spec": {**shown["spec"], "template": _readable_template(template)}} if template else {}),
    }


def _readable_template(template: dict[str, Any]) -> dict[str, Any]:
    template["metadata"].pop("annotations", None)
    for container in (*template["spec"].get("containers", ()), *template["spec"].get("initContainers", ())):
        for entry in container.get("env", ()):
            entry["value"] = _parsed(entry.get("value", ""))
    return template


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text
