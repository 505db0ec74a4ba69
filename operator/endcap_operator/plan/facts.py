# SPDX-License-Identifier: Apache-2.0
"""What planning knows, and what it answers with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from endcap_api.v1alpha1.base import Element
from endcap_api.v1alpha1.modeldeployment import ModelDeploymentSpec
from endcap_operator.keys import Key, Manifest
from endcap_operator.manifests.identity import Identity
from endcap_operator.plan.pods import Pod


@dataclass(frozen=True)
class Resource:
    """One of our resources; `spec` is None when it has problems that keep it from being read."""

    identity: Identity
    generation: int
    spec: Element | None
    problems: tuple[str, ...] = ()

    @property
    def key(self) -> Key:
        return Key(self.identity.kind, self.identity.namespace, self.identity.name)


@dataclass(frozen=True)
class Referenced:
    """A ModelDeployment that a graph names."""

    spec: ModelDeploymentSpec
    ready: bool


@dataclass(frozen=True)
class Observed:
    """What is in the cluster.

    `children` are our own, by kind; `taken` are objects of someone else that have the name of a child, and `left`
    those that an earlier resource of this name left for the garbage collector; `models` are those that exist, by
    name, of those that a graph names.
    """

    children: Mapping[str, Manifest] = field(default_factory=dict)
    taken: tuple[Key, ...] = ()
    left: tuple[Key, ...] = ()
    pods: tuple[Pod, ...] = ()
    models: Mapping[str, Referenced] = field(default_factory=dict)


@dataclass(frozen=True)
class Nudge:
    """An annotation on a pod, which makes its kubelet look at the pod's ConfigMap at once."""

    pod: Pod
    value: str


@dataclass(frozen=True)
class Plan:
    """What to do.

    `manifests` are applied in order, then `prune` are deleted, then pods are nudged.
    `seed` is the number of replicas that the Deployment keeps until its autoscaler sets it. `status` lacks times.
    `recheck` asks for another look after so many seconds, although nothing may have changed in the cluster.
    """

    status: dict[str, Any]
    manifests: tuple[dict[str, Any], ...] = ()
    prune: tuple[Manifest, ...] = ()
    nudge: tuple[Nudge, ...] = ()
    seed: int | None = None
    recheck: float | None = None
