# SPDX-License-Identifier: Apache-2.0
"""A shop on real pods: the basket example with two replicas of what matters, in a namespace of its own.

Needs what `make demo` leaves: the cluster with the operator installed and the example's artefacts in its store.
"""

from __future__ import annotations

import base64
import json
import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from endcap_cluster import s3
from endcap_cluster.layout import KUBECONFIG
from kube import Client, condition, eventually

from endcap_cli import model_store
from endcap_cli.stores import S3Store

EXAMPLE = Path(__file__).parents[2] / "examples" / "01-basket"
NAMESPACE = "e2e-shop"
TWICE = ("basket", "basket-ranker", "item-cooccurrence")
LONG = 600.0
DEMO = "shop"
LAST_ACT = (
    ("Experiment", "ranker-v2"),
    ("InferenceGraph", "last-call"),
    ("ModelDeployment", "cart-ranker"),
)
PORT = 8080


def kubeconfig() -> Path:
    return Path(os.environ.get("ENDCAP_E2E_KUBECONFIG", KUBECONFIG))


def example() -> dict[str, dict[str, Any]]:
    """The example's resources by name, two replicas of those that tests kill, small enough to fit beside the demo."""
    texts = [(EXAMPLE / name).read_text() for name in ("models.yaml", "graph.yaml")]
    found = {m["metadata"]["name"]: m for text in texts for m in yaml.safe_load_all(text) if m}
    for name, manifest in found.items():
        manifest["spec"].setdefault("resources", {})["cpu"] = "20m"
        if name in TWICE:
            manifest["spec"]["replicas"] = {"min": 2}
    return found


def request(name: str = "request.json") -> dict[str, Any]:
    return dict(json.loads((EXAMPLE / name).read_text()))


@dataclass(frozen=True)
class Shop:
    """A namespace with the example in it."""

    client: Client
    namespace: str = NAMESPACE

    def open(self) -> None:
        """The namespace, under the restricted Pod Security standard, and the credentials of the store."""
        self._make_room()
        eventually(self._not_leaving, f"namespace {self.namespace} of an earlier run is gone", LONG)
        labels = {"pod-security.kubernetes.io/enforce": "restricted"}
        metadata = {"name": self.namespace, "labels": labels}
        self.client.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata})
        store = s3.read(kubeconfig())
        keys = {"accessKey": store.access_key, "secretKey": store.secret_key}
        data = {name: base64.b64encode(value.encode()).decode() for name, value in keys.items()}
        self.apply({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "model-store"}, "data": data})

    def _make_room(self) -> None:
        """Two cores have no room for the demo's last act beside a test's shop: it goes; `make demo` brings it back."""
        for kind, name in LAST_ACT:
            if self.client.get(kind, DEMO, name):
                self.client.delete(kind, DEMO, name)

    def _not_leaving(self) -> bool:
        """What is applied to a namespace that is on its way out goes with it, although it is taken."""
        found = self.client.get("Namespace", "", self.namespace) or {}
        return "deletionTimestamp" not in found.get("metadata", {})

    def apply(self, manifest: dict[str, Any]) -> dict[str, Any]:
        return self.client.apply(manifest, self.namespace)

    def get(self, kind: str, name: str) -> dict[str, Any]:
        return self.client.get(kind, self.namespace, name) or {}

    def status(self, kind: str, name: str) -> dict[str, Any]:
        return dict(self.get(kind, name).get("status") or {})

    def says(self, kind: str, name: str, about: str, seconds: float = LONG, **wanted: str) -> dict[str, Any]:
        """The condition once it has what is wanted of it, for the newest generation."""

        def look() -> dict[str, Any] | None:
            manifest = self.get(kind, name)
            found = condition(manifest, about)
            current = found.get("observedGeneration") == manifest.get("metadata", {}).get("generation")
            return found if current and all(found.get(k) == v for k, v in wanted.items()) else None

        try:
            return eventually(look, f"{kind} {name} {about} {wanted}", seconds)
        except AssertionError as error:
            raise AssertionError(f"{error}: {json.dumps(self.status(kind, name))}") from None

    def pods(self, child: str) -> list[dict[str, Any]]:
        """The pods of a child Deployment that are not on their way out."""
        found = [
            p
            for p in self.client.items("Pod", self.namespace)
            if p["metadata"]["name"].startswith(f"{child}-")
        ]
        return [p for p in found if "deletionTimestamp" not in p["metadata"]]

    def ready_pods(self, child: str) -> list[dict[str, Any]]:
        return [p for p in self.pods(child) if condition(p, "Ready").get("status") == "True"]

    def kill(self, pod: dict[str, Any]) -> None:
        """At once: no grace, as if its node had gone."""
        path = self.client.path("Pod", self.namespace, pod["metadata"]["name"])
        self.client.send("DELETE", path, params={"gracePeriodSeconds": "0"})

    def restarts(self, child: str) -> int:
        statuses = [c for p in self.pods(child) for c in p["status"].get("containerStatuses", ())]
        return sum(c["restartCount"] for c in statuses)

    @property
    def url(self) -> str:
        """The graph's own path at the address of its Service, which this machine reaches."""
        service = self.get("Service", "basket-graph")
        path = self.get("InferenceGraph", "basket")["spec"]["api"]["path"]
        return f"http://{service['spec']['clusterIP']}:{PORT}{path}"

    def revisions(self) -> list[str | None]:
        """What each ready graph pod serves, asked directly."""
        addresses = [p["status"]["podIP"] for p in self.ready_pods("basket-graph")]
        return [httpx.get(f"http://{a}:{PORT}/-/revision", timeout=5).json()["serving"] for a in addresses]

    def left_of(self, name: str) -> list[str]:
        """Whatever carries the name of a resource as its instance, pods on their way out among them."""
        kinds = ("Deployment", "ReplicaSet", "Service", "PodDisruptionBudget", "ConfigMap", "Pod")
        items = [item for kind in kinds for item in self.client.items(kind, self.namespace)]
        label = "app.kubernetes.io/instance"
        return [
            i["metadata"]["name"] for i in items if (i["metadata"].get("labels") or {}).get(label) == name
        ]

    def whole(self) -> None:
        """Wait until everything is as the example says."""
        for name, manifest in example().items():
            self.says(manifest["kind"], name, "Progressing", reason="Complete")
        self.says("InferenceGraph", "basket", "Degraded", status="False")
        eventually(self._answers, "kube-proxy has heard of the pods that are ready", 30)

    def _answers(self) -> bool:
        try:
            return httpx.post(self.url, json=request(), timeout=5).status_code == 200
        except httpx.TransportError:
            return False


def pushed(key: str, content: bytes) -> dict[str, str]:
    """Put a file into the store; its uri and digest for a spec."""
    known = s3.read(kubeconfig())
    store = S3Store.at(known.endpoint, known.access_key, known.secret_key)
    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory) / Path(key).name
        file.write_bytes(content)
        found = model_store.push(file, f"s3://models/{key}", store)
    return {"uri": found.uri, "sha256": found.sha256}


def _within_reach() -> None:
    """Killing pods under load needs addresses that survive them: a forwarded port dies with its pod."""
    endpoint = s3.read(kubeconfig()).endpoint
    try:
        httpx.get(f"{endpoint}/healthz", timeout=3)
    except httpx.TransportError:
        pytest.skip(
            f"this machine does not reach {endpoint}: Services answer here only on the embedded cluster"
        )


@pytest.fixture(scope="session")
def shop() -> Iterator[Shop]:
    """The example, whole; the namespace goes with the session unless ENDCAP_E2E_KEEP is set."""
    _within_reach()
    client = Client(kubeconfig())
    made = Shop(client)
    made.open()
    for manifest in example().values():
        made.apply(manifest)
    made.whole()
    yield made
    if not os.environ.get("ENDCAP_E2E_KEEP"):
        client.send("DELETE", f"api/v1/namespaces/{NAMESPACE}")
    client.close()


@pytest.fixture
def whole(shop: Shop) -> Iterator[Shop]:
    """The example as it was, before and after the test."""
    yield shop
    for manifest in example().values():
        shop.apply(manifest)
    shop.whole()
