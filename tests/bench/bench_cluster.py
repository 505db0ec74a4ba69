# SPDX-License-Identifier: Apache-2.0
"""Times on a cluster, each with its goal: Ready, an edit served everywhere, drift repaired, and writes that are none.

The first table is of the operator alone on a real API server; the second of real pods, in the cluster that
`make demo` leaves.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).resolve().parents[1]))
sys.path.append(str(Path(__file__).resolve().parents[1] / "cluster"))
sys.path.append(str(Path(__file__).resolve().parents[1] / "e2e"))

import aiohttp
import httpx
from basket_shop import EXAMPLE, Shop, example, kubeconfig, request
from builders import changed, graph, intent, ranker, recaller
from endcap_cluster.errors import ClusterError
from kube import Client, condition, eventually
from operated import Operated, end, operated_in
from shoppers import Load

RESOURCES = 200
EDITS = 20
REPAIRS = 5
START_SECONDS = 4.0  # until the watches stand and the first comparison is done
BARE_CONCURRENCY = 16


@dataclass(frozen=True)
class Figure:
    """A measured value and its goal: at most, unless `at_least`."""

    name: str
    value: float
    unit: str
    goal: float | None = None
    at_least: bool = False

    @property
    def verdict(self) -> str:
        if self.goal is None:
            return ""
        reached = self.value >= self.goal if self.at_least else self.value <= self.goal
        return "ok" if reached else "short"

    def show(self) -> None:
        sign = ">=" if self.at_least else "<="
        goal = "" if self.goal is None else f"{sign} {self.goal:g} {self.unit}"
        print(f"  {self.name:<62}{self.value:>10.2f} {self.unit:<6}{goal:>14}  {self.verdict}", flush=True)


def p95(values: Sequence[float]) -> float:
    return statistics.quantiles(values, n=20)[-1] if len(values) > 1 else values[0]


def timed(act: Callable[[], Any], look: Callable[[], Any], what: str) -> float:
    begun = time.monotonic()
    act()
    eventually(look, what, 120)
    return time.monotonic() - begun


# --- the operator alone -------------------------------------------------------------------------------------------


@contextmanager
def settled() -> Iterator[tuple[Operated, str]]:
    with tempfile.TemporaryDirectory() as directory:
        world = operated_in(Path(directory))
        try:
            world.start()
            namespace = world.namespace()
            for manifest in (ranker(), recaller(), intent()):
                world.client.apply(manifest, namespace)
            yield world, namespace
        finally:
            end(world)


def operator_alone() -> Iterator[Figure]:
    with settled() as (world, namespace):
        yield from converged(world, namespace)
        yield from repaired(world, namespace)
        yield from silent(world)
        yield memory(world)


def converged(world: Operated, namespace: str) -> Iterator[Figure]:
    """Graphs with all their children and a status, beside the same writes by a bare client in the same run."""
    begun = time.monotonic()
    asyncio.run(sent(world.client, [(g, namespace) for g in graphs()]))
    eventually(
        lambda: all(status_of(g) for g in world.client.items("InferenceGraph", namespace)), "converged", 300
    )
    ours = len(graphs()) / (time.monotonic() - begun)
    bare = bare_rate(world, namespace)
    yield Figure("graphs created and converged", ours, "/s", 25, at_least=True)
    yield Figure("  of what a bare client does with the same writes", ours / bare, "x", 0.8, at_least=True)


def graphs() -> list[dict[str, Any]]:
    return [graph(f"g{number}") for number in range(RESOURCES - 3)]


def status_of(manifest: dict[str, Any]) -> bool:
    return bool((manifest.get("status") or {}).get("conditions"))


def bare_rate(world: Operated, namespace: str) -> float:
    """The resources and their children, written again under other names by a client that plans nothing."""
    elsewhere = world.namespace()
    kinds = ("ConfigMap", "Service", "PodDisruptionBudget", "Deployment")
    found = {kind: world.client.items(kind, namespace) for kind in kinds}
    writes = [
        (bare(kind, item), elsewhere)
        for kind in kinds
        for item in found[kind]
        if "-graph" in item["metadata"]["name"]
    ]
    world.stop()
    begun = time.monotonic()
    asyncio.run(sent(world.client, [*writes, *((g, elsewhere) for g in graphs())]))
    asyncio.run(statuses(world.client, elsewhere))
    rate = len(graphs()) / (time.monotonic() - begun)
    world.client.send("DELETE", world.client.path("InferenceGraph", elsewhere))
    world.log.write_text("")
    world.start()
    time.sleep(START_SECONDS)
    return rate


API_VERSIONS = {"Deployment": "apps/v1", "PodDisruptionBudget": "policy/v1"}


def bare(kind: str, item: dict[str, Any]) -> dict[str, Any]:
    spec = {k: v for k, v in item.get("spec", {}).items() if k not in ("clusterIP", "clusterIPs")}
    metadata = {"name": item["metadata"]["name"], "labels": {"of": "bench"}}
    body = {"data": item["data"]} if kind == "ConfigMap" else {"spec": spec}
    return {"apiVersion": API_VERSIONS.get(kind, "v1"), "kind": kind, "metadata": metadata, **body}


async def sent(client: Client, manifests: Sequence[tuple[dict[str, Any], str]]) -> None:
    async def apply(manifest: dict[str, Any], namespace: str) -> None:
        path = client.path(manifest["kind"], namespace, manifest["metadata"]["name"])
        await patched(
            http, path, manifest, "application/apply-patch+yaml", {"fieldManager": "bench", "force": "true"}
        )

    async with client.many(BARE_CONCURRENCY) as http:
        await asyncio.gather(*(apply(manifest, namespace) for manifest, namespace in manifests))


async def statuses(client: Client, namespace: str) -> None:
    body = {"status": {"steps": 6, "serving": "0/0"}}
    async with client.many(BARE_CONCURRENCY) as http:
        paths = [client.path("InferenceGraph", namespace, g["metadata"]["name"], "status") for g in graphs()]
        await asyncio.gather(
            *(patched(http, path, body, "application/merge-patch+json", {}) for path in paths)
        )


async def patched(
    http: httpx.AsyncClient, path: str, body: dict[str, Any], content: str, params: dict[str, str]
) -> None:
    headers = {"content-type": content}
    answer = await http.patch(f"/{path}", params=params, headers=headers, content=json.dumps(body))
    answer.raise_for_status()


def repaired(world: Operated, namespace: str) -> Iterator[Figure]:
    deleted, edited = [], []
    for number in range(REPAIRS):
        name = f"g{number}-graph"
        kinds = ("Deployment", "Service", "ConfigMap", "PodDisruptionBudget")
        deleted += [deletion(world, kind, namespace, name) for kind in kinds]
        edited.append(edit(world, namespace, name))
    yield Figure("a deleted child is restored (p95)", p95(deleted), "s", 2)
    yield Figure("an edited child is restored (p95)", p95(edited), "s", 2)


def deletion(world: Operated, kind: str, namespace: str, name: str) -> float:
    return timed(
        lambda: world.client.delete(kind, namespace, name),
        lambda: world.get(kind, namespace, name),
        f"{kind} restored",
    )


def edit(world: Operated, namespace: str, name: str) -> float:
    return timed(
        lambda: world.client.patch("ConfigMap", namespace, name, {"data": {"graph.json": "{}"}}),
        lambda: (world.get("ConfigMap", namespace, name) or {})["data"]["graph.json"] != "{}",
        "the configuration is restored",
    )


def silent(world: Operated) -> Iterator[Figure]:
    world.quiet(1.0)
    since = world.server.now()
    world.restart()
    looked_at(world, RESOURCES)
    yield Figure(f"writes at a restart with {RESOURCES} unchanged resources", len(world.writes(since)), "", 0)
    since = world.server.now()
    world.restart(ENDCAP_RESYNC_SECONDS="1")
    looked_at(world, 4 * RESOURCES)
    yield Figure(f"writes in three resyncs of {RESOURCES} resources", len(world.writes(since)), "", 0)


def looked_at(world: Operated, times: int) -> None:
    def reconciled() -> bool:
        lines = httpx.get(f"{world.health}/metrics").text.splitlines()
        counts = [float(line.split()[-1]) for line in lines if line.startswith("endcap_reconcile_total{")]
        return sum(counts) >= times

    eventually(reconciled, f"{times} reconciliations", 120)


def memory(world: Operated) -> Figure:
    assert world.process is not None
    pages = int(Path(f"/proc/{world.process.pid}/statm").read_text().split()[1])
    return Figure(f"memory with {RESOURCES} resources", pages * 4096 / 2**20, "MB", 250)


# --- real pods ----------------------------------------------------------------------------------------------------


def real_pods() -> Iterator[Figure]:
    client = Client(kubeconfig())
    shop = Shop(client, "bench-shop")
    shop.open()
    try:
        for manifest in example().values():
            shop.apply(manifest)
        shop.whole()
        yield from ready(shop)
        yield from edits(shop)
    finally:
        client.send("DELETE", "api/v1/namespaces/bench-shop")
        client.close()


def ready(shop: Shop) -> Iterator[Figure]:
    manifest = changed(example()["popularity"], "metadata.name", "visitor")
    comes = timed(
        lambda: shop.apply(manifest),
        lambda: condition(shop.get("ModelDeployment", "visitor"), "Ready").get("status") == "True",
        "Ready",
    )
    yield Figure("a ModelDeployment is Ready", comes, "s", 60)
    goes = timed(
        lambda: shop.client.delete("ModelDeployment", shop.namespace, "visitor"),
        lambda: not shop.left_of("visitor"),
        "nothing left",
    )
    yield Figure("  deleted: nothing is left", goes, "s")


def edits(shop: Shop) -> Iterator[Figure]:
    """Served means that each replica, asked directly, says the new revision."""
    before, restarts = shop.restarts("basket-graph"), []
    with Load(shop.url, request(), 20) as load:
        served = [served_everywhere(shop, 50 + number) for number in range(EDITS)]
    restarts = shop.restarts("basket-graph") - before
    yield Figure(f"an edit is served by every replica (p95 of {EDITS})", p95(served), "s", 2)
    yield Figure("  median", statistics.median(served), "s")
    yield Figure("  restarts", restarts, "", 0)
    yield Figure(f"  failed requests of {len(load.answers)}", len(load.failed), "", 0)


def served_everywhere(shop: Shop, top: int) -> float:
    addresses = [pod["status"]["podIP"] for pod in shop.ready_pods("basket-graph")]
    before = set(shop.revisions())
    manifest = changed(example()["basket"], "spec.steps[0].recall.top", top)
    return timed(lambda: shop.apply(manifest), lambda: all_new(addresses, before), "served by every replica")


def all_new(addresses: Sequence[str], before: set[str | None]) -> bool:
    async def ask(http: aiohttp.ClientSession, address: str) -> str | None:
        async with http.get(f"http://{address}:8080/-/revision") as answer:
            return (await answer.json())["serving"]

    async def all_of() -> list[str | None]:
        async with aiohttp.ClientSession() as http:
            return await asyncio.gather(*(ask(http, address) for address in addresses))

    return not before & set(asyncio.run(all_of()))


def main() -> int:
    print("\nThe operator on a real API server")
    figures = []
    for figure in operator_alone():
        figure.show()
        figures.append(figure)
    if not kubeconfig().exists() or not (EXAMPLE / "store").exists():
        print("\nReal pods: not measured. Run `make demo` first: it leaves the cluster that this needs.")
        return 1
    print("\nReal pods")
    for figure in real_pods():
        figure.show()
        figures.append(figure)
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except ClusterError as error:
        sys.exit(str(error))
