# SPDX-License-Identifier: Apache-2.0
"""What it costs to tell who met what, behind the answer; and a hundred thousand shoppers through a real graph, a real
ingest and a real Redis: all told, counted once, split as the weights say, and nothing kept of them.

ENDCAP_BENCH_UNITS (100,000) is how many shoppers there are.
"""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import replace
from math import inf, sqrt
from pathlib import Path
from time import monotonic, thread_time_ns
from typing import Any

sys.path += [str(Path(__file__).resolve().parents[place]) for place in (1, 2)]

import httpx
import numpy as np
import psutil
from experiment_shop import RANKER, measured, settled_sums, unit_key
from ingest_servers import Ingest, ingest
from model_servers import wait_ready
from paced import paced
from redis_servers import redis_server
from shop_exposures import TryingEngine, TryingShop, experiment
from table import head, row
from tried_servers import begin, tried, weighted

from endcap_runtime.graph.exposures import Exposures, Passed
from endcap_runtime.graph.query import Query

UNITS = int(os.environ.get("ENDCAP_BENCH_UNITS", "100000"))
CALLS, WARM = 50_000, 10_000
NOWHERE = "http://127.0.0.1:9"
SIGMAS = 3.3


async def telling() -> None:
    """CPU of one call, in µs; nothing is sent meanwhile, since the loop does not get its turn."""
    with tempfile.TemporaryDirectory() as work:
        async with TryingShop(Path(work)) as shop:
            engine = shop.trying(shop.ranked(), ranker_v2=experiment(exposures=NOWHERE))
            query = await _query_of(engine)
            for name, goal, units in (
                ("a unit that was told before", "< 20", 1),
                ("a unit that is new", "< 200", CALLS),
            ):
                p50, p99 = _timed(engine, query, units)
                row(f"{name}: p99 of a call, µs", p99, goal, limits=f"p50 {p50:.2f}")


async def _query_of(engine: TryingEngine) -> Query:
    seen: list[Query] = []
    engine.app._after = (*engine.app._after, lambda _p, query, _s, _t: seen.append(query))
    await engine.ask(customer="u0", cart=["Paper plates"], store="330")
    return seen[0]


def _timed(engine: TryingEngine, query: Query, units: int) -> tuple[float, float]:
    served = engine.serving.served
    assert served is not None
    exposures, form = Exposures(most=2 * CALLS), served.pipeline.exposures
    given, taken = query.assignments["ranker-v2"], np.empty(CALLS)
    for number in range(CALLS):
        query.assignments = {"ranker-v2": replace(given, unit=f"u{number % units}")}
        passed = Passed(monotonic(), 0.01)
        began = thread_time_ns()
        exposures.tell(form, query, passed)
        taken[number] = thread_time_ns() - began
    p50, p99 = np.percentile(taken, [50, 99]) / 1000
    return float(p50), float(p99)


def soak() -> None:
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        work = Path(folder)
        redis = stack.enter_context(redis_server(work / "redis"))
        pod = stack.enter_context(ingest(measured(redis.url), work / "pod", environ=unit_key(work)))
        server = begin(work, tried(work, ranker_v2=weighted(5000, exposures=pod.url, id=RANKER)))
        stack.callback(server.process.kill)
        wait_ready(server)
        process = psutil.Process(server.process.pid)
        failures = asyncio.run(_shop(server.port, range(WARM)))
        before, began = process.memory_info().rss, time.monotonic()
        failures += asyncio.run(_shop(server.port, range(WARM, UNITS)))
        rate = (UNITS - WARM) / (time.monotonic() - began)
        sums = _counted(pod)
        grown = (process.memory_info().rss - before) / 1e6
        _rows(sums, grown, httpx.get(f"{server.url}/metrics").text, failures, rate)


async def _shop(port: int, numbers: range) -> int:
    """One request of each shopper, eight at a time."""

    def body(place: int) -> Mapping[str, Any]:
        return {"customer": f"shopper-{numbers[place]}"}

    return (await paced(port, body, len(numbers), inf, connections=8)).failures


def _counted(pod: Ingest) -> dict[str, Any]:
    """The sums by variant, once they do not change any more."""
    found: dict[str, Any] = {}
    while (now := settled_sums(pod, seconds=120)["epochs"].get("1", {})) != found:
        found = now
        time.sleep(2)
    return found


def _rows(sums: Mapping[str, Any], grown: float, metrics: str, failures: int, rate: float) -> None:
    units = {variant: each["units"] for variant, each in sums.items()}
    apart = abs(units["treatment"] - UNITS / 2) / sqrt(UNITS / 4)
    sent, dropped = (_value(metrics, f'outcome="{outcome}"') for outcome in ("sent", "dropped"))
    row("requests that were not answered", failures, "≤ 0", limits=f"{rate:,.0f} requests/s")
    row("units that were told and not counted", sent - sum(units.values()), "≤ 0")
    row("units that were counted less than there were", UNITS - sum(units.values()), "≤ 0")
    row("exposures that were dropped", dropped, "≤ 0")
    row("units that crossed", sum(each["crossed"] for each in sums.values()), "≤ 0")
    row("observed split of 50/50, in sigmas", apart, f"≤ {SIGMAS}", limits=f"{units}")
    row("memory that the graph has grown by, MB", grown, "≤ 24", limits=f"from request {WARM:,} on")


def _value(metrics: str, labels: str) -> float:
    lines = [line for line in metrics.splitlines() if "experiment_exposures_total" in line and labels in line]
    return float(lines[0].rsplit(" ", 1)[1])


def main() -> None:
    head(f"Telling exposures, {CALLS:,} calls each")
    asyncio.run(telling())
    head(f"{UNITS:,} shoppers through graph, ingest and Redis")
    soak()


if __name__ == "__main__":
    main()
