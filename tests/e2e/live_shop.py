# SPDX-License-Identifier: Apache-2.0
"""A shop with live features on real pods: the example of that name, in a namespace of its own.

Needs what `make demo` leaves: the cluster with the operator installed and the example's artefacts in its store.
"""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from basket_shop import Shop, _within_reach, kubeconfig
from endcap_cluster.layout import KUBECONFIG
from kube import Client, eventually

EXAMPLE = Path(__file__).parents[2] / "examples" / "02-live-features"
FILES = ("models.yaml", "features.yaml", "graph.yaml", "remind.yaml")
NAMESPACE = "e2e-live"
PORT, SIDECAR_PORT = 8080, 8081
BATCH = "application/cloudevents-batch+json"
SMALL = {"cpu": "10m"}


def example() -> dict[tuple[str, str], dict[str, Any]]:
    """The example's resources by kind and name, small enough to fit beside the demo."""
    texts = [(EXAMPLE / name).read_text() for name in FILES]
    found = {(m["kind"], m["metadata"]["name"]): m for text in texts for m in yaml.safe_load_all(text)}
    for (kind, _), manifest in found.items():
        if kind in ("ModelDeployment", "InferenceGraph"):
            manifest["spec"].setdefault("resources", {}).update(SMALL)
    store = found["FeatureStore", "default"]["spec"]
    store["embedded"]["resources"] = store.setdefault("ingest", {})["resources"] = SMALL
    return found


def request(**changes: Any) -> dict[str, Any]:
    return dict(json.loads((EXAMPLE / "request.json").read_text())) | changes


def purchase(number: int, product: str = "0001", household: str = "e2e", **data: Any) -> dict[str, Any]:
    """A purchase of this moment; its id is made of the number."""
    about = {"household_id": household, "product_id": product, "basket_id": str(number), "amount": 1.0}
    return {
        "specversion": "1.0",
        "id": f"{household}-{number}",
        "source": "/e2e",
        "type": "purchase",
        "time": datetime.now(UTC).isoformat(),
        "data": about | data,
    }


def replayed() -> list[dict[str, Any]]:
    """The example's events, moved so that the last of them is now."""
    lines = (EXAMPLE / "store" / "purchases.jsonl").read_text().splitlines()
    events = [json.loads(line) for line in lines]
    times = [datetime.fromisoformat(event["time"]) for event in events]
    moved = datetime.now(UTC) - max(times) - timedelta(seconds=1)
    return [event | {"time": (at + moved).isoformat()} for event, at in zip(events, times, strict=True)]


@dataclass(frozen=True)
class LiveShop(Shop):
    """A namespace with the example in it."""

    namespace: str = NAMESPACE

    def address(self, service: str) -> str:
        return f"http://{self.get('Service', service)['spec']['clusterIP']}:{PORT}"

    def at(self, graph: str) -> str:
        """The graph's own path at the address of its Service."""
        return f"{self.address(f'{graph}-graph')}/{graph}"

    @property
    def ingest(self) -> str:
        return self.address("default-ingest")

    def ask(self, graph: str, body: dict[str, Any]) -> dict[str, Any]:
        answer = httpx.post(self.at(graph), params={"explain": "true"}, json=body, timeout=10)
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    def remind(self, customer: str) -> dict[str, Any]:
        return self.ask("remind", {"customer": customer, "limit": 10})

    def send(self, events: list[dict[str, Any]]) -> None:
        for start in range(0, len(events), 500):
            content = json.dumps(events[start : start + 500])
            sent = httpx.post(
                f"{self.ingest}/v1/events", content=content, headers={"content-type": BATCH}, timeout=30
            )
            assert sent.status_code == 202, sent.text

    def views(self) -> dict[str, Any]:
        return dict(httpx.get(f"{self.ingest}/v1/views", timeout=10).json())

    def settled(self) -> None:
        eventually(lambda: self.views()["backlog"] == 0, "every event is applied", 60)

    def features(self, bundle: str, **keys: str) -> dict[str, Any]:
        """Columns of one entity, as the ingest's pods look them up."""
        body = {"keys": {name: [value] for name, value in keys.items()}}
        found = httpx.post(f"{self.ingest}/v1/bundles/{bundle}", json=body, timeout=10)
        assert found.status_code == 200, found.text
        return {name: values[0] for name, values in found.json()["columns"].items()}

    def metric(self, child: str, name: str, port: int = PORT, **labels: str) -> float:
        """The sum of the samples of that name with those labels over the child's ready pods."""
        total = 0.0
        for pod in self.ready_pods(child):
            text = httpx.get(f"http://{pod['status']['podIP']}:{port}/metrics", timeout=10).text
            for line in text.splitlines():
                named = line.startswith((f"{name}{{", f"{name} "))
                if named and all(f'{key}="{value}"' in line for key, value in labels.items()):
                    total += float(line.rsplit(" ", 1)[1])
        return total

    def open_whole(self) -> None:
        for manifest in example().values():
            self.apply(manifest)
        self.whole()

    def whole(self) -> None:
        """Wait until everything is as the example says, and an answer comes from every step."""
        for kind, name in example():
            about = "Valid" if kind == "FeatureView" else "Ready"
            self.says(kind, name, about, status="True")
        for graph in ("live-basket", "remind"):
            self.says("InferenceGraph", graph, "Progressing", reason="Complete")
        eventually(self.contributes, "an answer to which every step contributed", 60)

    def contributes(self) -> bool:
        try:
            return self.ask("live-basket", request())["degraded"] == []
        except httpx.TransportError:
            return False


def processes_of(pod: dict[str, Any], program: str) -> list[int]:
    """Ids, on this machine, of the processes of a pod that run a program."""
    uid = pod["metadata"]["uid"]
    return [int(entry.name) for entry in Path("/proc").glob("[0-9]*") if _runs(entry, uid, program)]


def _runs(entry: Path, uid: str, program: str) -> bool:
    try:
        within = (entry / "cgroup").read_text()
        return (uid in within or uid.replace("-", "_") in within) and program == (
            entry / "comm"
        ).read_text().strip()
    except OSError:
        return False


@contextmanager
def stood_still(found: Sequence[int]) -> Iterator[None]:
    """Processes are stopped, and go on."""
    try:
        for process in found:
            os.kill(process, signal.SIGSTOP)
        yield
    finally:
        for process in found:
            os.kill(process, signal.SIGCONT)


@contextmanager
def frozen(pod: dict[str, Any], program: str) -> Iterator[None]:
    """The processes stand still, as if their node had lost its mind, and go on."""
    found = processes_of(pod, program)
    assert found, f"no {program} of pod {pod['metadata']['name']} is on this machine"
    with stood_still(found):
        yield


@pytest.fixture(scope="module")
def live() -> Iterator[LiveShop]:
    """The example, whole, with its facts and its events; the namespace goes unless ENDCAP_E2E_KEEP is set."""
    _within_reach()
    if kubeconfig() != KUBECONFIG:
        pytest.skip(
            "pauses and kills processes of pods, which are on this machine only in the embedded cluster"
        )
    client = Client(kubeconfig())
    shop = LiveShop(client)
    shop.open()
    shop.open_whole()
    facts = (EXAMPLE / "store" / "product-facts.parquet").read_bytes()
    rows = httpx.post(
        f"{shop.ingest}/v1/views/product-facts/rows",
        content=facts,
        headers={"content-type": "application/vnd.apache.parquet"},
        timeout=30,
    )
    assert rows.status_code == 200, rows.text
    shop.send(replayed())
    shop.settled()
    yield shop
    if not os.environ.get("ENDCAP_E2E_KEEP"):
        client.send("DELETE", f"api/v1/namespaces/{NAMESPACE}")
    client.close()


def since(begun: float) -> str:
    return f"{time.monotonic() - begun:.2f} s"
