# SPDX-License-Identifier: Apache-2.0
"""Pods for an API server without kubelets: objects as a kubelet reports them, and a server that answers for each.

Each pod has an address of its own on loopback, where it serves its revision on the port that real pods use.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from typing import Any

import pytest
from operated import Operated

from endcap_api.runtime_config import GraphConfig

_ADDRESSES = count(1)
PORT = 8080


@dataclass
class Replica:
    """A pod; it answers for the revision that it is told to serve or to reject, and, an ingest pod, for its views.

    `pages` are further pages by path. One that `follows` serves what its graph's ConfigMap has, as soon as it has it.
    """

    world: Operated
    namespace: str
    name: str
    address: str
    answer: dict[str, Any] = field(default_factory=lambda: {"serving": None, "rejected": None})
    views: dict[str, Any] | None = None
    pages: dict[str, Any] = field(default_factory=dict)
    follows: str = ""
    asked: int = 0
    server: ThreadingHTTPServer | None = None

    def listen(self) -> None:
        replica = self

        class Answer(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                replica.asked += self.path == "/-/revision"
                answer = replica.says(self.path)
                body = json.dumps(answer).encode()
                self.send_response(200 if answer else 404)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer((self.address, PORT), Answer)
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    def says(self, path: str) -> Any:
        if path == "/-/revision":
            return self.followed() if self.follows else self.answer
        return self.views if path == "/v1/views" else self.pages.get(path)

    def followed(self) -> dict[str, Any]:
        data = (self.world.get("ConfigMap", self.namespace, self.follows) or {})["data"]
        config = GraphConfig.model_validate_json(data["graph.json"])
        experiments = {name: each.revision for name, each in (config.experiments or {}).items()}
        return {"serving": config.revision, "rejected": None, "experiments": experiments}

    def close(self) -> None:
        if self.server is not None:
            self.server.shutdown()
            self.server.server_close()
            self.server = None

    def remove(self) -> None:
        """A pod that is left behind and does not answer would be nudged for ever."""
        self.close()
        if self.world.get("Pod", self.namespace, self.name) is not None:
            self.world.client.delete("Pod", self.namespace, self.name)

    def serve(self, revision: str) -> None:
        self.answer = {"serving": revision, "rejected": None}

    def reject(self, revision: str, reason: str, message: str) -> None:
        rejected = {"revision": revision, "reason": reason, "message": message}
        self.answer = {"serving": self.answer["serving"], "rejected": rejected}

    def report(self, status: dict[str, Any]) -> None:
        self.world.client.patch("Pod", self.namespace, self.name, {"status": status}, "status")

    def ready(self, *, ready: bool = True) -> None:
        """As a kubelet reports a container that runs."""
        state = {"name": "c", "ready": ready, "image": "x", "imageID": "x", "restartCount": 0}
        state["state"] = {"running": {"startedAt": "2026-11-24T08:00:00Z"}}
        condition = {"type": "Ready", "status": str(ready)}
        self.report(
            {
                "phase": "Running",
                "podIP": self.address,
                "podIPs": [{"ip": self.address}],
                "conditions": [condition],
                "containerStatuses": [state],
            }
        )

    def failed(self, reason: str, message: str) -> None:
        """As a kubelet reports an init container that ended with a message."""
        ended = {
            "exitCode": 1,
            "reason": "Error",
            "message": json.dumps({"reason": reason, "message": message}),
        }
        state = {"name": "fetch", "ready": False, "image": "x", "imageID": "x", "restartCount": 3}
        waiting = {"reason": "CrashLoopBackOff", "message": "back-off 40s"}
        self.report(
            {
                "phase": "Pending",
                "initContainerStatuses": [
                    {**state, "state": {"waiting": waiting}, "lastState": {"terminated": ended}}
                ],
            }
        )

    @property
    def annotations(self) -> dict[str, str]:
        found = self.world.get("Pod", self.namespace, self.name) or {}
        return dict(found["metadata"].get("annotations") or {})


@dataclass
class Pods:
    """Makes replicas of a Deployment, and ends them."""

    world: Operated
    made: list[Replica] = field(default_factory=list)

    def add(self, namespace: str, deployment: str, *, ready: bool = True, owned: bool = True) -> Replica:
        """A pod of the Deployment's current template; not owned, it only looks like one."""
        found = self.world.get("Deployment", namespace, deployment)
        assert found is not None
        number = next(_ADDRESSES)
        template = found["spec"]["template"]
        owner = self._replica_set(found, namespace, f"{deployment}-{number}") if owned else None
        metadata = {
            "name": f"{deployment}-{number}",
            "labels": template["metadata"]["labels"],
            "annotations": template["metadata"]["annotations"],
            **({"ownerReferences": [owner]} if owner else {}),
        }
        self.world.client.create({"kind": "Pod", "metadata": metadata, "spec": template["spec"]}, namespace)
        replica = Replica(self.world, namespace, metadata["name"], f"127.0.113.{number}")
        replica.listen()
        self.made.append(replica)
        if ready:
            replica.ready()
        return replica

    def _replica_set(self, deployment: dict[str, Any], namespace: str, name: str) -> dict[str, Any]:
        owner = _owner("apps/v1", deployment)
        labels = deployment["spec"]["template"]["metadata"]["labels"]
        made = self.world.client.create(
            {
                "kind": "ReplicaSet",
                "metadata": {"name": name, "labels": labels, "ownerReferences": [owner]},
                "spec": {
                    "replicas": 1,
                    "selector": {"matchLabels": labels},
                    "template": deployment["spec"]["template"],
                },
            },
            namespace,
        )
        return _owner("apps/v1", {**made, "kind": "ReplicaSet"})


def _owner(api_version: str, manifest: dict[str, Any]) -> dict[str, Any]:
    metadata = manifest["metadata"]
    kind = manifest.get("kind", "Deployment")
    return {
        "apiVersion": api_version,
        "kind": kind,
        "name": metadata["name"],
        "uid": metadata["uid"],
        "controller": True,
    }


@pytest.fixture
def pods(world: Operated) -> Iterator[Pods]:
    made = Pods(world)
    yield made
    for replica in made.made:
        replica.remove()
