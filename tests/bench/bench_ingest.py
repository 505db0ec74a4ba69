# SPDX-License-Identifier: Apache-2.0
"""Ingest: what an event costs Redis, how many a pod takes through HTTP, and how soon a feature shows it."""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
import time
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import numpy as np

sys.path.append(str(Path(__file__).resolve().parents[1]))

from ingest_servers import BATCH, CUSTOMER, PRODUCT, SINGLE, Ingest, event, features, ingest
from ingest_totals import compiled
from redis_servers import RedisServer, redis_server

EVENTS, REQUEST = 40_000, 200
PROBES = 300
GOAL_RATE, GOAL_VISIBLE_S = 20_000, 1.0


def view(entity: Mapping[str, Any], storage: str, *windows: str) -> dict[str, Any]:
    """Clicks counted and purchases summed, over three windows."""
    return {
        "entity": entity,
        "ttl": "26h",
        "source": {"stream": {"lateness": "1h", "storage": storage}},
        "features": [
            {
                "name": "clicks",
                "type": "integer",
                "event": "click",
                "aggregation": "count",
                "windows": list(windows),
            },
            {
                "name": "spend",
                "type": "number",
                "event": "purchase",
                "field": "amount",
                "aggregation": "sum",
                "windows": list(windows),
            },
        ],
    }


ONE = {"activity": view(CUSTOMER, "events", "5m", "1h", "24h")}
TILES = {"popularity": view(PRODUCT, "tiles", "5m", "1h", "24h")}


class Measured(NamedTuple):
    what: str
    rate: float
    redis_us: float
    pods_us: float


def body(index: int, customers: int) -> bytes:
    """A batch of purchases and clicks; a tenth was sent before."""
    chance = np.random.default_rng(index)
    first = index * (REQUEST - REQUEST // 10)
    return json.dumps(
        [
            event(
                str(first + number),
                "purchase" if number % 2 else "click",
                customer_id=str(chance.integers(customers)),
                product_id=int(chance.integers(1000)),
                amount=float(chance.integers(10_000)) / 100,
            )
            for number in range(REQUEST)
        ]
    ).encode()


def redis_seconds(client: Any) -> float:
    info = client.info("cpu")
    return float(info["used_cpu_sys"] + info["used_cpu_user"])


def pod_seconds(pods: list[Ingest]) -> float:
    """CPU that the pods have used, as they tell it themselves."""
    lines = [line for pod in pods for line in httpx.get(f"{pod.url}/metrics").text.splitlines()]
    return sum(float(line.split(" ")[1]) for line in lines if line.startswith("process_cpu_seconds_total"))


async def send_all(urls: list[str], bodies: list[bytes]) -> None:
    """A few requests at a time to each pod, tried again where the pod says so."""

    async def sender(client: httpx.AsyncClient, url: str) -> None:
        while bodies:
            content = bodies.pop()
            while True:
                answer = await client.post(
                    f"{url}/v1/events", content=content, headers={"content-type": BATCH}
                )
                if answer.status_code == 202:
                    break
                assert answer.status_code in (429, 503), answer.text
                await asyncio.sleep(0.05)

    async with httpx.AsyncClient(timeout=30) as client:
        await asyncio.gather(*(sender(client, url) for url in urls for _ in range(4)))


def through_http(name: str, server: RedisServer, views: Mapping[str, Any], pods: int, work: Path) -> Measured:
    """Elapsed from the first request until nothing waits; Redis' CPU is that of the whole way, stream and all."""
    bodies = [body(index, 5000) for index in range(EVENTS // REQUEST)]
    with ExitStack() as stack, server.client() as client:
        client.flushall()
        running = [
            stack.enter_context(ingest(features(server.url, views), work / f"{name}{n}", f"pod-{n}"))
            for n in range(pods)
        ]
        cpu, own, began = redis_seconds(client), pod_seconds(running), time.perf_counter()
        asyncio.run(send_all([pod.url for pod in running], bodies))
        running[0].settled(300)
        elapsed = time.perf_counter() - began
        used, own = redis_seconds(client) - cpu, pod_seconds(running) - own
    return Measured(name, EVENTS / elapsed, used / EVENTS * 1e6, own / EVENTS * 1e6)


def visible(pod: Ingest, server: RedisServer) -> np.ndarray:
    """Seconds from sending one event until a read of its state shows it, at 100 events a second."""
    seen = []
    reader = compiled("activity")
    with server.client() as client, httpx.Client() as http:
        for number in range(PROBES):
            key = reader.key([f"probe-{number}"])
            given = json.dumps(event(f"probe-{number}", customer_id=f"probe-{number}"))
            began = time.perf_counter()
            http.post(
                f"{pod.url}/v1/events", content=given, headers={"content-type": SINGLE}
            ).raise_for_status()
            while not client.exists(key):
                time.sleep(0.0002)
            seen.append(time.perf_counter() - began)
            time.sleep(0.005)
    return np.array(seen)


def main() -> int:
    with tempfile.TemporaryDirectory() as folder, redis_server(Path(folder) / "redis") as server:
        work = Path(folder)
        rows = [
            through_http("a view of events, one pod", server, ONE, 1, work / "a"),
            through_http("a view of tiles, one pod", server, TILES, 1, work / "b"),
            through_http("both views, one pod", server, {**ONE, **TILES}, 1, work / "c"),
            through_http("both views, two pods", server, {**ONE, **TILES}, 2, work / "d"),
        ]
        with ingest(features(server.url), work / "probe") as pod:
            delays = visible(pod, server)
    _print(rows, delays)
    return 0


def _print(rows: list[Measured], delays: np.ndarray) -> None:
    print(
        f"\n{EVENTS:,} events in requests of {REQUEST}, a tenth of them duplicates, all in Redis before the 202"
    )
    print(f"{'':28}{'events/s':>10}{'pods µs':>9}{'Redis µs':>10}{'a Redis core':>14}{'goal':>9}")
    for row in rows:
        core = 1e6 / row.redis_us
        word = "ok" if core >= GOAL_RATE else "short"
        told = f"{row.what:28}{row.rate:>10,.0f}{row.pods_us:>9.0f}{row.redis_us:>10.1f}{core:>12,.0f}/s"
        print(f"{told}{GOAL_RATE:>9,} {word}")
    p50, p99 = np.percentile(delays, (50, 99)) * 1000
    word = "ok" if p99 <= GOAL_VISIBLE_S * 1000 else "short"
    print(f"\nevent to visible through HTTP: p50 {p50:.1f} ms, p99 {p99:.1f} ms, goal p99 1,000 ms {word}")


if __name__ == "__main__":
    sys.exit(main())
