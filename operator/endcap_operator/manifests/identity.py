# SPDX-License-Identifier: Apache-2.0
"""Names, labels and owner of the children of one resource.

The owner reference is part of every manifest from the start, so that no child ever exists without its owner, and
the garbage collector removes children even while the operator is down.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from endcap_api.v1alpha1.kinds import API_VERSION
from endcap_operator.keys import Key

MANAGED_BY = "app.kubernetes.io/managed-by"
COMPONENT = "app.kubernetes.io/name"
INSTANCE = "app.kubernetes.io/instance"
MANAGER = "endcap"
SELECTOR = f"{MANAGED_BY}={MANAGER}"
PORT = 8080

# The sets of children that a kind is made into, the one that is spoken to first; views and bundles have none, and that
# of an experiment has no pods.
COMPONENTS: Mapping[str, tuple[str, ...]] = {
    "ModelDeployment": ("model",),
    "InferenceGraph": ("graph",),
    "FeatureStore": ("ingest", "store"),
    "FeatureView": (),
    "FeatureBundle": (),
    "Experiment": ("experiment",),
}
KIND_OF_COMPONENT = {component: kind for kind, parts in COMPONENTS.items() for component in parts}


@dataclass(frozen=True)
class Identity:
    """The resource that children belong to, seen as one of its components: the first, unless `of` chose another."""

    kind: str
    namespace: str
    name: str
    uid: str
    part: str = ""

    def of(self, component: str) -> Identity:
        return replace(self, part=component)

    @property
    def component(self) -> str:
        return self.part or COMPONENTS[self.kind][0]

    @property
    def child(self) -> str:
        """Name of every child of the component."""
        return f"{self.name}-{self.component}"

    def key(self, kind: str) -> Key:
        return Key(kind, self.namespace, self.child)

    @property
    def labels(self) -> dict[str, str]:
        return {MANAGED_BY: MANAGER, COMPONENT: self.component, INSTANCE: self.name}

    @property
    def selector(self) -> str:
        return ",".join(f"{key}={value}" for key, value in sorted(self.labels.items()))

    @property
    def url(self) -> str:
        return service_url(self.child, self.namespace)

    def metadata(self) -> dict[str, Any]:
        owner = {
            "apiVersion": API_VERSION,
            "kind": self.kind,
            "name": self.name,
            "uid": self.uid,
            "controller": True,
        }
        return {
            "name": self.child,
            "namespace": self.namespace,
            "labels": self.labels,
            "ownerReferences": [owner],
        }


def service_url(service: str, namespace: str) -> str:
    return f"http://{service}.{namespace}.svc:{PORT}"


def model_url(model: str, namespace: str) -> str:
    """Where a graph finds a model of its namespace."""
    return service_url(f"{model}-model", namespace)


def manifest(api_version: str, kind: str, identity: Identity, **parts: Mapping[str, Any]) -> dict[str, Any]:
    return {"apiVersion": api_version, "kind": kind, "metadata": identity.metadata(), **parts}
