# SPDX-License-Identifier: Apache-2.0
"""The examples' resources in a namespace of their own, and a request to a graph."""

import http.client
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from endcap_cluster import kubectl, s3
from endcap_cluster.errors import ClusterError

from endcap_demo.forwarding import forwarded
from endcap_demo.places import NAMESPACE, STORE_SECRET

READY_SECONDS = 240
ASK_SECONDS = 10


def open_shop(kubeconfig: Path, store: s3.Store) -> None:
    """The namespace under the restricted Pod Security standard, and the credentials."""
    kubectl.apply(kubeconfig, json.dumps(_namespace()))
    kubectl.apply(kubeconfig, json.dumps(_secret(store)))


def apply(kubeconfig: Path, example: Path, names: Sequence[str]) -> None:
    """YAML files of an example as they are."""
    for name in names:
        kubectl.run(
            kubeconfig, "--namespace", NAMESPACE, "apply", "--server-side", f"--filename={example / name}"
        )


def wait_until_ready(kubeconfig: Path, kinds: str) -> None:
    """Until all resources of these kinds are Ready, e.g. `modeldeployments,inferencegraphs`."""
    wanted = ("--for=condition=Ready", f"--timeout={READY_SECONDS}s", "--all")
    kubectl.run(kubeconfig, "--namespace", NAMESPACE, "wait", kinds, *wanted)


def table(kubeconfig: Path) -> str:
    return kubectl.run(kubeconfig, "--namespace", NAMESPACE, "get", "endcap")


def ask(kubeconfig: Path, graph: str, request: bytes, query: str = "") -> dict[str, Any]:
    """The graph's answer to a request in JSON; `query` goes behind the path, e.g. `?explain=true`."""
    with forwarded(kubeconfig, NAMESPACE, f"{graph}-graph", 8080) as address:
        connection = http.client.HTTPConnection(address, timeout=ASK_SECONDS)
        headers = {"content-type": "application/json"}
        connection.request("POST", f"/{graph}{query}", request, headers)
        response = connection.getresponse()
        answer: dict[str, Any] = json.loads(response.read())
        connection.close()
    if response.status != http.HTTPStatus.OK:
        raise ClusterError(f"the graph answered {response.status}: {json.dumps(answer)}")
    return answer


def _namespace() -> dict[str, Any]:
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE, "labels": labels}}


def _secret(store: s3.Store) -> dict[str, Any]:
    metadata = {"name": STORE_SECRET, "namespace": NAMESPACE}
    keys = {"accessKey": store.access_key, "secretKey": store.secret_key}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": keys}
