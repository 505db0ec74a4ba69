# SPDX-License-Identifier: Apache-2.0
"""The operator's plan for resources that are in files, whether or not they are in a cluster."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Any

from endcap_cli.terminal import CommandError
from endcap_cli.workspace import Read, Workspace
from endcap_operator.keys import Key
from endcap_operator.plan.entry import plan_for, resource_of
from endcap_operator.plan.facts import Observed, Plan, Referenced, Resource
from endcap_operator.platform import Platform

NO_UID = "00000000-0000-0000-0000-000000000000"
KINDS_OF_IMAGE = ("python", "sklearn", "lightgbm", "graph", "redis")


@dataclass(frozen=True)
class Images:
    """Images by what runs in them; those that are not known are shown under a name that tells so."""

    known: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def read(cls, text: str | None) -> Images:
        """`python=registry/image:tag,graph=…`; raises CommandError."""
        pairs = [item.partition("=") for item in (text or "").split(",") if item.strip()]
        for name, _, image in pairs:
            if name.strip() not in KINDS_OF_IMAGE or not image:
                raise CommandError(f"--images: {name}: write {'=…,'.join(KINDS_OF_IMAGE)}=…", status=2)
        return cls({name.strip(): image for name, _, image in pairs})

    def platform(self, base: Platform | None = None) -> Platform:
        unknown = {name: f"endcap-{name}:{version('endcap')}" for name in KINDS_OF_IMAGE}
        if base is None:
            return Platform({**unknown, **self.known})
        return Platform({**base.images, **self.known}, base.pull_policy, base.s3_endpoint, base.allowed_hosts)


@dataclass(frozen=True)
class Planned:
    """A resource of the files and what the operator would make of it."""

    resource: str
    manifests: tuple[dict[str, Any], ...]
    notes: tuple[str, ...]


def planned_without_cluster(workspace: Workspace, images: Images) -> Iterator[Planned]:
    for read in workspace.reads:
        resource = as_resource(read)
        observed = Observed(resources=referenced(workspace, read.name.namespace))
        plan = plan_for(resource, observed, images.platform())
        yield Planned(read.manifest.resource, plan.manifests, waiting(plan))


def as_resource(read: Read, uid: str = NO_UID, generation: int = 1) -> Resource:
    """The resource as the operator would see it once it is applied."""
    metadata = {"namespace": read.manifest.namespace, "name": read.manifest.name}
    return resource_of({**read.manifest.data, "metadata": {**metadata, "uid": uid, "generation": generation}})


def referenced(workspace: Workspace, namespace: str) -> dict[Key, Referenced]:
    """Every resource of a namespace that is in the files: planning takes what it needs."""
    return {
        Key(read.kind, namespace, read.name.name): Referenced(read.spec, ready=True)
        for read in workspace.reads
        if read.name.namespace == namespace
    }


def waiting(plan: Plan) -> tuple[str, ...]:
    """Why a plan makes nothing; nothing is said of what is never made into anything and is as it should be."""
    conditions = {condition["type"]: condition for condition in plan.status.get("conditions", ())}
    said = conditions.get("Ready") or conditions.get("Valid") or {}
    if plan.manifests or said.get("status") != "False":
        return ()
    return (f"nothing is made yet: {said['reason']}: {said['message']}",)
