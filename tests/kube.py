# SPDX-License-Identifier: Apache-2.0
"""Plain requests to an API server, for tests that must see what is there and not what a library makes of it."""

from __future__ import annotations

import base64
import json
import ssl
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import httpx
import yaml

T = TypeVar("T")
KINDS = {
    "ConfigMap": "api/v1/{}configmaps",
    "Deployment": "apis/apps/v1/{}deployments",
    "Experiment": "apis/endcap.dev/v1alpha1/{}experiments",
    "FeatureBundle": "apis/endcap.dev/v1alpha1/{}featurebundles",
    "FeatureStore": "apis/endcap.dev/v1alpha1/{}featurestores",
    "FeatureView": "apis/endcap.dev/v1alpha1/{}featureviews",
    "Event": "apis/events.k8s.io/v1/{}events",
    "HorizontalPodAutoscaler": "apis/autoscaling/v2/{}horizontalpodautoscalers",
    "InferenceGraph": "apis/endcap.dev/v1alpha1/{}inferencegraphs",
    "ModelDeployment": "apis/endcap.dev/v1alpha1/{}modeldeployments",
    "Namespace": "api/v1/namespaces",
    "PersistentVolumeClaim": "api/v1/{}persistentvolumeclaims",
    "Pod": "api/v1/{}pods",
    "PodDisruptionBudget": "apis/policy/v1/{}poddisruptionbudgets",
    "ReplicaSet": "apis/apps/v1/{}replicasets",
    "ResourceQuota": "api/v1/{}resourcequotas",
    "Secret": "api/v1/{}secrets",
    "Service": "api/v1/{}services",
}


class Client:
    """One API server, as the user of a kubeconfig with a client certificate."""

    def __init__(self, kubeconfig: Path) -> None:
        config = yaml.safe_load(kubeconfig.read_text())
        cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
        context = ssl.create_default_context(cadata=_decoded(cluster["certificate-authority-data"]).decode())
        with tempfile.NamedTemporaryFile() as pair:
            pair.write(_decoded(user["client-certificate-data"]) + _decoded(user["client-key-data"]))
            pair.flush()
            context.load_cert_chain(pair.name)
        self.server: str = cluster["server"]
        self.authority: str = cluster["certificate-authority-data"]
        self._context = context
        self._http = httpx.Client(base_url=self.server, verify=context, timeout=30)

    def many(self, connections: int) -> httpx.AsyncClient:
        """For requests side by side."""
        limits = httpx.Limits(max_connections=connections, max_keepalive_connections=connections)
        return httpx.AsyncClient(base_url=self.server, verify=self._context, timeout=60, limits=limits)

    def close(self) -> None:
        self._http.close()

    def send(self, method: str, path: str, **arguments: Any) -> httpx.Response:
        return self._http.request(method, f"/{path}", **arguments)

    def path(self, kind: str, namespace: str = "", name: str = "", subresource: str = "") -> str:
        where = f"namespaces/{namespace}/" if namespace else ""
        return "/".join(filter(None, (KINDS[kind].format(where), name, subresource)))

    def get(self, kind: str, namespace: str, name: str) -> dict[str, Any] | None:
        answer = self.send("GET", self.path(kind, namespace, name))
        return None if answer.status_code == 404 else checked(answer)

    def items(self, kind: str, namespace: str = "") -> list[dict[str, Any]]:
        return list(checked(self.send("GET", self.path(kind, namespace)))["items"])

    def apply(self, manifest: dict[str, Any], namespace: str = "", manager: str = "author") -> dict[str, Any]:
        path = self.path(manifest["kind"], namespace, manifest["metadata"]["name"])
        return checked(
            self.send(
                "PATCH",
                path,
                params={"fieldManager": manager, "force": "true"},
                headers={"Content-Type": "application/apply-patch+yaml"},
                content=json.dumps(manifest),
            )
        )

    def create(self, manifest: dict[str, Any], namespace: str) -> dict[str, Any]:
        return checked(self.send("POST", self.path(manifest["kind"], namespace), json=manifest))

    def patch(
        self, kind: str, namespace: str, name: str, body: dict[str, Any], subresource: str = ""
    ) -> dict[str, Any]:
        return checked(
            self.send(
                "PATCH",
                self.path(kind, namespace, name, subresource),
                headers={"Content-Type": "application/merge-patch+json"},
                content=json.dumps(body),
            )
        )

    def delete(self, kind: str, namespace: str, name: str) -> None:
        checked(self.send("DELETE", self.path(kind, namespace, name)))


def checked(answer: httpx.Response) -> dict[str, Any]:
    assert answer.is_success, f"{answer.request.method} {answer.request.url}: {answer.text}"
    return dict(answer.json())


def _decoded(text: str) -> bytes:
    return base64.b64decode(text)


def eventually(look: Callable[[], T | None], what: str, seconds: float = 20.0) -> T:
    """The first answer of `look` that is true; fails with `what` after some seconds."""
    end = time.monotonic() + seconds
    while True:
        if found := look():
            return found
        assert time.monotonic() < end, f"not within {seconds:g} s: {what}"
        time.sleep(0.02)


def condition(manifest: dict[str, Any], kind: str) -> dict[str, Any]:
    found = (manifest.get("status") or {}).get("conditions") or ()
    return next((c for c in found if c["type"] == kind), {})
