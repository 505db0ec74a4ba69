# SPDX-License-Identifier: Apache-2.0
"""Exposures and outcomes through ingest, beside events that feed a view: what each costs Redis and the pod.

ENDCAP_BENCH_EVENTS (20,000) says how many of each.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

sys.path.append(str(Path(__file__).resolve().parents[2]))
sys.path.append(str(Path(__file__).resolve().parents[1]))

import httpx
import numpy as np
from bench_ingest import ONE, pod_seconds, redis_seconds
from experiment_shop import EXPERIMENTS, cart, exposure, measured, order, settled_sums, unit_key
from ingest_servers import BATCH, Ingest, event, features, ingest
from redis_servers import RedisServer, redis_server
from table import head, row

COUNT = int(os.environ.get("ENDCAP_BENCH_EVENTS", "20000"))
REQUEST, CUSTOMERS, ITEMS, ASKED = 200, 5000, 20, 50
GOAL_CORE, GOAL_SUMS = "≥ 20000", "≤ 100"
RANKER = {"ranker-v2": EXPERIMENTS["ranker-v2"]}
ONE_METRIC = {"ranker-v2": {**RANKER["ranker-v2"], "metrics": [RANKER["ranker-v2"]["metrics"][1]]}}


class Measured(NamedTuple):
    what: str
    rate: float
    redis_us: float
    pods_us: float

    @property
    def core(self) -> float:
        """How many a second would keep one core of Redis busy."""
        return 1e6 / self.redis_us


def units(index: int) -> list[str]:
    chance = np.random.default_rng(index)
    return [str(each) for each in chance.integers(CUSTOMERS, size=REQUEST)]


def events(index: int) -> list[dict[str, Any]]:
    return [
        event(f"{index}-{n}", "purchase" if n % 2 else "click", customer_id=unit, amount=n / 4)
        for n, unit in enumerate(units(index))
    ]


def outcomes(index: int) -> list[dict[str, Any]]:
    return [
        order(f"{index}-{n}", unit, n / 4) if n % 2 else cart(f"{index}-{n}", unit)
        for n, unit in enumerate(units(index))
    ]


def orders(index: int) -> list[dict[str, Any]]:
    return [order(f"{index}-{n}", unit, n / 4) for n, unit in enumerate(units(index))]


ITEMS_SHOWN = [{"product": str(n), "position": n + 1} for n in range(ITEMS)]


def exposures(names: Sequence[str]) -> list[dict[str, Any]]:
    before = int(time.time() * 1000) - 60_000
    return [
        exposure(
            name,
            ("control", "treatment")[n % 2],
            time_ms=before,
            items=ITEMS_SHOWN,
            covariates={"revenue": 2.0},
        )
        for n, name in enumerate(names)
    ]


def first(index: int) -> list[dict[str, Any]]:
    return exposures([f"{index}-{n}" for n in range(REQUEST)])


def again(index: int) -> list[dict[str, Any]]:
    return exposures(units(index))


async def send_all(url: str, kind: str, bodies: list[bytes]) -> None:
    async def sender(client: httpx.AsyncClient) -> None:
        while bodies:
            content = bodies.pop()
            while (
                answer := await client.post(url, content=content, headers={"content-type": kind})
            ).is_error:
                assert answer.status_code in (429, 503), answer.text
                await asyncio.sleep(0.05)

    async with httpx.AsyncClient(timeout=30) as client:
        await asyncio.gather(*(sender(client) for _ in range(4)))


def expose_all(pod: Ingest) -> None:
    told = [exposures([str(n) for n in range(start, start + 500)]) for start in range(0, CUSTOMERS, 500)]
    bodies = [json.dumps({"exposures": each}).encode() for each in told]
    asyncio.run(send_all(f"{pod.url}/v1/exposures", "application/json", bodies))


def settle(pod: Ingest, experiments: Mapping[str, Any]) -> None:
    pod.settled(300)
    for experiment in experiments.values():
        settled_sums(pod, experiment["id"], 300)


class Bench:
    """One Redis for all rows; each row has an emptied one and a pod of its own."""

    def __init__(self, server: RedisServer, work: Path) -> None:
        self.server, self.work = server, work
        self.asked: list[float] = []

    def row(
        self,
        what: str,
        make: Any,
        config: Mapping[str, Any],
        path: str = "/v1/events",
        *,
        exposed: bool = True,
    ) -> Measured:
        """Elapsed from the first request until nothing waits; Redis' CPU is that of the whole way, stream and all."""
        told = [make(index) for index in range(COUNT // REQUEST)]
        wrapped = told if path == "/v1/events" else [{"exposures": each} for each in told]
        bodies = [json.dumps(each).encode() for each in wrapped]
        kind = BATCH if path == "/v1/events" else "application/json"
        experiments = config.get("experiments") or {}
        with ExitStack() as stack, self.server.client() as client:
            client.flushall()
            folder = self.work / what.replace(" ", "-").replace(",", "")
            pod = stack.enter_context(ingest(config, folder, environ=unit_key(self.work)))
            if exposed and experiments:
                expose_all(pod)
                settle(pod, experiments)
            cpu, own, began = redis_seconds(client), pod_seconds([pod]), time.perf_counter()
            asyncio.run(send_all(pod.url + path, kind, bodies))
            settle(pod, experiments)
            elapsed = time.perf_counter() - began
            used, own = redis_seconds(client) - cpu, pod_seconds([pod]) - own
            if experiments and not self.asked:
                self.asked = _sums_ms(pod, next(iter(experiments.values()))["id"])
        return Measured(what, COUNT / elapsed, used / COUNT * 1e6, own / COUNT * 1e6)


def _sums_ms(pod: Ingest, identity: str) -> list[float]:
    with httpx.Client() as client:
        taken = []
        for _ in range(ASKED):
            began = time.perf_counter()
            client.get(f"{pod.url}/v1/experiments/{identity}").raise_for_status()
            taken.append((time.perf_counter() - began) * 1000)
    return taken


def main() -> int:
    with tempfile.TemporaryDirectory() as folder, redis_server(Path(folder) / "redis") as server:
        bench, url = Bench(server, Path(folder)), server.url
        rows = [
            bench.row("events of a view", events, features(url, ONE)),
            bench.row("first exposures", first, measured(url, RANKER, {}), "/v1/exposures"),
            bench.row("exposures again", again, measured(url, RANKER, {}), "/v1/exposures"),
            bench.row("outcomes, one metric", orders, measured(url, ONE_METRIC, {})),
            bench.row("outcomes, three metrics", outcomes, measured(url, RANKER, {})),
            bench.row("outcomes, two experiments", outcomes, measured(url, EXPERIMENTS, {})),
            bench.row("outcomes that wait", outcomes, measured(url, RANKER, {}), exposed=False),
        ]
    _print(rows, bench.asked)
    return 0


def _print(rows: Sequence[Measured], asked: Sequence[float]) -> None:
    print(
        f"\n{COUNT:,} of each in requests of {REQUEST}, of {CUSTOMERS:,} units, all in Redis before the 202; one pod"
    )
    head("A Redis core does, a second (peer: events of a view)", "events")
    events_of_a_view = rows[0].core
    for each in rows[1:]:
        told = f"Redis {each.redis_us:.1f} us, pod {each.pods_us:.0f} us; {each.rate:,.0f}/s through this pod"
        row(each.what, each.core, GOAL_CORE, events_of_a_view, told)
    row("sums of an experiment, 64 parts: p99 of a GET, ms", float(np.percentile(asked, 99)), GOAL_SUMS)


if __name__ == "__main__":
    sys.exit(main())
