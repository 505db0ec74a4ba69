# SPDX-License-Identifier: Apache-2.0
"""What planning knows, and what it answers with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from endcap_api.v1alpha1.base import Element
from endcap_operator.keys import Key, Manifest
from endcap_operator.manifests.identity import Identity
from endcap_operator.plan.pods import Pod

Spec = TypeVar("Spec", bound=Element)


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
    """Another resource of the namespace; `version` is what a model's ready pods serve, as far as that is known."""

    spec: Element
    ready: bool
    version: str | None = None


@dataclass(frozen=True)
class Fed:
    """Since when a view is fed, and when a value of it was last written, in ms since 1970; None: never."""

    since_ms: int | None = None
    updated_ms: int | None = None


@dataclass(frozen=True)
class Report:
    """What an ingest pod said at `at_ms` of its store: the age of the oldest waiting event, and its views by name."""

    at_ms: int
    lag_ms: int = 0
    dead_letters: int = 0
    views: Mapping[str, Fed] = field(default_factory=dict)


@dataclass(frozen=True)
class Away:
    """What an ingest pod says that cannot ask its store."""

    message: str


@dataclass(frozen=True)
class Observed:
    """What is in the cluster.

    `children` are our own; `taken` are objects of someone else that have the name of a child, and `left` those that
    an earlier resource of this name left for the garbage collector. `resources` are those that exist of the ones that
    matter: what a resource names, directly or not, and of features also what names it. `callers` name it directly.
    `report` is None where no ingest pod of the store could be asked, or where the store is `away`.
    """

    children: Mapping[Key, Manifest] = field(default_factory=dict)
    taken: tuple[Key, ...] = ()
    left: tuple[Key, ...] = ()
    pods: tuple[Pod, ...] = ()
    resources: Mapping[Key, Referenced] = field(default_factory=dict)
    callers: tuple[Key, ...] = ()
    report: Report | None = None
    away: Away | None = None

    def child(self, identity: Identity, kind: str) -> Manifest | None:
        return self.children.get(identity.key(kind))

    def pods_of(self, component: str) -> tuple[Pod, ...]:
        return tuple(pod for pod in self.pods if pod.component == component)

    def specs(self, of: type[Spec]) -> dict[str, Spec]:
        """The specs of one kind, by name."""
        found = sorted(self.resources.items())
        return {key.name: other.spec for key, other in found if isinstance(other.spec, of)}

    def unready(self, kind: str) -> list[str]:
        """Names of the resources of a kind that are not ready."""
        return sorted(
            key.name for key, other in self.resources.items() if key.kind == kind and not other.ready
        )


@dataclass(frozen=True)
class Nudge:
    """An annotation on a pod, which makes its kubelet look at the pod's ConfigMap at once."""

    pod: Pod
    value: str


@dataclass(frozen=True)
class Plan:
    """What to do.

    `secret` is made unless it exists, then `manifests` are applied in order, then `prune` are deleted, then pods are
    nudged. `secret` has no password: the writer makes one up.
    `seed` is the number of replicas that a Deployment without one keeps until its autoscaler sets it. `status` lacks
    times. `recheck` asks for another look after so many seconds, although nothing may have changed in the cluster.
    """

    status: dict[str, Any]
    manifests: tuple[dict[str, Any], ...] = ()
    secret: dict[str, Any] | None = None
    prune: tuple[Manifest, ...] = ()
    nudge: tuple[Nudge, ...] = ()
    seed: int | None = None
    recheck: float | None = None
