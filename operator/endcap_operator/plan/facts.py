# SPDX-License-Identifier: Apache-2.0
"""What planning knows, and what it answers with."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from endcap_api.experiment_config import ExperimentSums, ServingPage
from endcap_api.v1alpha1.base import Element
from endcap_api.v1alpha1.experiment import ExperimentSpec
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
    """Another resource of the namespace.

    `version` and `sha256` are those of what a model's ready pods serve, as far as that is known. `record` is the text
    of what was decided about an experiment.
    """

    spec: Element
    ready: bool
    version: str | None = None
    sha256: str | None = None
    uid: str = ""
    created: str = ""
    record: str | None = None


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
class Reading:
    """What was there to be analysed of an experiment: the sums of its store, and a page of each ready pod of its graph.

    `sums` is None where no ingest pod of the store could say, or where there is no store.
    """

    sums: ExperimentSums | None = None
    pages: tuple[ServingPage, ...] = ()


@dataclass(frozen=True)
class Measured:
    """What is seen of an experiment beside its resources.

    `routers` are the pods of its graph and `told` the data of their ConfigMap, `status` is what the resource says now.
    `counted` says, before it begins, whether every ready ingest pod of its store would count it. `reading` is None
    between two looks; `look_in` are the seconds until the next one.
    """

    routers: tuple[Pod, ...] = ()
    told: Mapping[str, str] = field(default_factory=dict)
    status: Mapping[str, Any] = field(default_factory=dict)
    counted: bool = True
    reading: Reading | None = None
    look_in: float | None = None


@dataclass(frozen=True)
class Observed:
    """What is in the cluster.

    `children` are our own; `taken` are objects of someone else that have the name of a child, and `left` those that
    an earlier resource of this name left for the garbage collector. `resources` are those that exist of the ones that
    matter: what a resource names, directly or not, of features also what names it, and all experiments that share a
    graph, a model or a store with it. `callers` name it directly. `report` is None where no ingest pod of the store
    could be asked, or where the store is `away`. `now_ms` is in ms since 1970.
    """

    children: Mapping[Key, Manifest] = field(default_factory=dict)
    taken: tuple[Key, ...] = ()
    left: tuple[Key, ...] = ()
    pods: tuple[Pod, ...] = ()
    resources: Mapping[Key, Referenced] = field(default_factory=dict)
    callers: tuple[Key, ...] = ()
    report: Report | None = None
    away: Away | None = None
    measured: Measured = Measured()
    now_ms: int = 0

    def child(self, identity: Identity, kind: str) -> Manifest | None:
        return self.children.get(identity.key(kind))

    def pods_of(self, component: str) -> tuple[Pod, ...]:
        return tuple(pod for pod in self.pods if pod.component == component)

    def specs(self, of: type[Spec]) -> dict[str, Spec]:
        """The specs of one kind, by name."""
        found = sorted(self.resources.items())
        return {key.name: other.spec for key, other in found if isinstance(other.spec, of)}

    def experiments(self) -> Iterator[tuple[str, ExperimentSpec, Referenced]]:
        for key, other in sorted(self.resources.items()):
            if isinstance(other.spec, ExperimentSpec):
                yield key.name, other.spec, other

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
class NewSecret:
    """A Secret without the text of `key`, which is made up when the Secret is made, and known to nobody else."""

    manifest: dict[str, Any]
    key: str


@dataclass(frozen=True)
class Patch:
    """A JSON patch (RFC 6902) of a resource that a user wrote; its tests say what it must be for that."""

    key: Key
    operations: tuple[dict[str, Any], ...]


@dataclass(frozen=True)
class Told:
    """An Event."""

    reason: str
    note: str
    warning: bool = False


@dataclass(frozen=True)
class Plan:
    """What to do.

    `secrets` are made unless they exist, then `manifests` are applied in order, then `prune` are deleted, then pods are
    nudged and what is a user's own is patched.
    `seed` is the number of replicas that a Deployment without one keeps until its autoscaler sets it. `status` lacks
    times. `recheck` asks for another look after so many seconds, although nothing may have changed in the cluster, and
    for ever rarer ones; `due` for one in so many seconds and no later. `events` are told once all is written.
    """

    status: dict[str, Any]
    manifests: tuple[dict[str, Any], ...] = ()
    secrets: tuple[NewSecret, ...] = ()
    prune: tuple[Manifest, ...] = ()
    nudge: tuple[Nudge, ...] = ()
    patch: Patch | None = None
    seed: int | None = None
    recheck: float | None = None
    due: float | None = None
    events: tuple[Told, ...] = ()
