# SPDX-License-Identifier: Apache-2.0
"""The example's resources in a namespace of their own, and a request to its graph."""

import http.client
import json
from pathlib import Path
from typing import Any

from endcap_cluster import kubectl, s3
from endcap_cluster.errors import ClusterError

from endcap_demo.forwarding import forwarded
from endcap_demo.places import EXAMPLE, GRAPH, NAMESPACE, STORE_SECRET

READY_SECONDS = 240
ASK_SECONDS = 10


def apply(kubeconfig: Path, store: s3.Store) -> None:
    """The namespace under the restricted Pod Security standard, the credentials, then the YAML as it is."""
    kubectl.apply(kubeconfig, json.dumps(_namespace()))
    kubectl.apply(kubeconfig, json.dumps(_secret(store)))
    for name in ("models.yaml", "graph.yaml"):
        kubectl.run(
            kubeconfig, "--namespace", NAMESPACE, "apply", "--server-side", f"--filename={EXAMPLE / name}"
        )


def wait_until_ready(kubeconfig: Path) -> None:
    wanted = ("--for=condition=Ready", f"--timeout={READY_SECONDS}s", "--all")
    kubectl.run(kubeconfig, "--namespace", NAMESPACE, "wait", "modeldeployments,inferencegraphs", *wanted)


def table(kubeconfig: Path) -> str:
    return kubectl.run(kubeconfig, "--namespace", NAMESPACE, "get", "endcap")


def ask(kubeconfig: Path, request: str) -> dict[str, Any]:
    """The graph's answer to a request of the example, e.g. `request.json`."""
    body = (EXAMPLE / request).read_bytes()
    with forwarded(kubeconfig, NAMESPACE, f"{GRAPH}-graph", 8080) as address:
        connection = http.client.HTTPConnection(address, timeout=ASK_SECONDS)
        connection.request("POST", f"/{GRAPH}", body, {"content-type": "application/json"})
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
