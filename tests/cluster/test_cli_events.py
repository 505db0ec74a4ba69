# SPDX-License-Identifier: Apache-2.0
"""Commands on features through a real API server's proxy, to a real ingest that stands for the pods of a store."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from api_server import ApiServer
from endcap_cluster import kubectl
from ingest_servers import Ingest, event, features, ingest
from redis_servers import redis_server

from endcap_cli.__main__ import main

NAMESPACE = "proxied"


def own_address() -> str:
    """Of this machine: an API server proxies to no loopback address. Nothing is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("192.0.2.1", 9))
        return str(probe.getsockname()[0])


def service(port: int) -> list[dict[str, Any]]:
    """A Service of a store's name, and a pod behind it that has this machine's address."""
    metadata = {"name": "default-ingest", "namespace": NAMESPACE}
    ports = [{"name": "http", "port": 8080, "protocol": "TCP", "targetPort": port}]
    ready = [{"ip": own_address(), "targetRef": {"kind": "Pod", "name": "pod", "namespace": NAMESPACE}}]
    subset = {"addresses": ready, "ports": [{"name": "http", "port": port, "protocol": "TCP"}]}
    runs = {"containers": [{"name": "ingest", "image": "endcap"}]}
    return [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}},
        {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": {"ports": ports}},
        {"apiVersion": "v1", "kind": "Endpoints", "metadata": metadata, "subsets": [subset]},
        {"apiVersion": "v1", "kind": "Pod", "metadata": {**metadata, "name": "pod"}, "spec": runs},
    ]


@pytest.fixture
def pod(api_server: ApiServer, tmp_path: Path) -> Iterator[Ingest]:
    own = {"ENDCAP_HOST": "0.0.0.0"}  # for the API server, and for the test itself on loopback
    with (
        redis_server(tmp_path / "redis") as redis,
        ingest(features(redis.url), tmp_path / "pod", environ=own) as pod,
    ):
        listed = json.dumps({"apiVersion": "v1", "kind": "List", "items": service(pod.port)})
        kubectl.run(api_server.kubeconfig, "apply", "--server-side", "--filename=-", stdin=listed)
        status = json.dumps({"status": {"podIP": own_address(), "podIPs": [{"ip": own_address()}]}})
        patch = ("patch", "pod", "pod", f"--namespace={NAMESPACE}", "--subresource=status", "--type=merge")
        kubectl.run(api_server.kubeconfig, *patch, f"--patch={status}")
        yield pod


def test_events_reach_a_store_in_the_cluster_and_what_it_refuses_comes_back(
    pod: Ingest, api_server: ApiServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    there = ("-n", NAMESPACE, "--kubeconfig", str(api_server.kubeconfig))
    path = tmp_path / "events.jsonl"
    sent = [event("e1", customer_id="7"), event("e2", kind="clik", customer_id="7")]
    path.write_text("".join(f"{json.dumps(one)}\n" for one in sent))
    assert main(["events", "dead", *there]) == 0, capsys.readouterr().err
    capsys.readouterr()
    assert main(["events", "send", str(path), *there]) == 1
    captured, said = capsys.readouterr()
    assert captured, said
    assert f"{path}:2: type: no view of this store reads it: did you mean click?" in captured
    assert captured.endswith("1 accepted, 1 refused\n")
    assert main(["events", "dead", "--store", "other", *there]) == 1
    said = capsys.readouterr().err
    assert 'services "other-ingest" not found' in said
    assert "name another with --store, another namespace with -n" in said
