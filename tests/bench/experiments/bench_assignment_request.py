# SPDX-License-Identifier: Apache-2.0
"""What experiments add to a request, and to the compilation of a graph.

The whole engine is driven without sockets, once with and once without experiments in turns, and each request is timed
in CPU of the thread, so that what else runs on the machine is not counted. The graph asks no model: what its models
cost would hide what is asked here. Both variants rank by the same expression, so the work is the same.
"""

from __future__ import annotations

import asyncio
import gc
import json
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from time import monotonic, thread_time, thread_time_ns
from typing import Any

sys.path += [str(Path(__file__).resolve().parents[place]) for place in (1, 2)]

import basket
import numpy as np
from graphs import Graph, write_catalogue
from prometheus_client import CollectorRegistry
from shop_exposures import Tried, experiment
from table import head, row

from endcap_runtime.artefacts import Policy
from endcap_runtime.graph.app import GraphApp
from endcap_runtime.graph.experiments.telling import header, told
from endcap_runtime.graph.loading import Loader
from endcap_runtime.graph.metrics import GraphMetrics
from endcap_runtime.graph.serving import Serving
from endcap_runtime.graph.sidecar import Records, Sidecar
from endcap_runtime.graph.upstream import Models
from endcap_runtime.server import Lifecycle

ROUNDS, REQUESTS, WARM = 21, 1_000, 2_000
CALLS = 20_000
GOAL = "< 20"
BY = "candidate.price"
EVERYTHING: Mapping[str, Any] = {
    "targeting": 'request.store == "330"',
    "layer": {"name": "home", "buckets": ["0-10000"]},
    "holdout": {"name": "2026q4", "percent": 1},
}
HALVES = [
    {"name": "control", "baseline": True, "buckets": ["0-5000"], "weight": 5000},
    {"name": "treatment", "by": BY, "buckets": ["5000-10000"], "weight": 5000},
]


def tried(count: int, **more: Any) -> dict[str, Any]:
    """Experiments with salts of their own, each on a step of its own."""
    return {
        f"x{number}": experiment(f"rank-{number}", id=f"{number}", salt=f"x{number}", variants=HALVES, **more)
        for number in range(count)
    }


def ranked(steps: int) -> Graph:
    made = Graph().takes("few", '["1", "2", "6"]')
    for number in range(steps):
        made = made.rank(f"rank-{number}", by=BY)
    return made.select()


class Engine:
    """A graph in process, asked as its HTTP server asks it."""

    def __init__(self, graph: Graph, experiments: Mapping[str, Any], work: Path) -> None:
        digest = write_catalogue(work / "models/catalogue/1.parquet")
        made = Tried.of(graph.items_at("s3://models/catalogue/1.parquet", digest), experiments)
        registry, serving, sidecar = CollectorRegistry(), Serving(), Sidecar("/nobody/listens/here.sock")
        self.metrics = GraphMetrics(registry)
        loader = Loader(Policy(local_store=work), Models(), self.metrics, sidecar)
        serving.served = loader.load(json.dumps(made.value()).encode())
        self.pipeline = serving.served.pipeline
        self.app = GraphApp(serving, self.metrics, registry, Lifecycle(), Records(sidecar))

    async def ask(self, unit: str) -> int:
        """When the answer was sent, in ns of CPU of the thread; what is counted behind it holds nobody up."""
        sent = 0
        body = b'{"customer":"%s","store":"330"}' % unit.encode()
        length = b"%d" % len(body)
        scope = {
            "type": "http",
            "method": "POST",
            "raw_path": b"/basket",
            "query_string": b"",
            "headers": [
                (b"host", b"graph"),
                (b"content-type", b"application/json"),
                (b"content-length", length),
            ],
        }

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": body}

        async def send(message: Mapping[str, Any]) -> None:
            nonlocal sent
            if message["type"] == "http.response.start" and message["status"] != 200:
                raise SystemExit(f"answered {message['status']}")
            sent = thread_time_ns()

        await self.app(scope, receive, send)
        return sent


async def round_of(engine: Engine, count: int) -> tuple[float, float]:
    """p50 and p99 from a request to its answer in µs of CPU, over units that are all different."""
    taken = np.empty(count)
    for number in range(count):
        began = thread_time_ns()
        taken[number] = await engine.ask(f"shopper-{number}") - began
    p50, p99 = np.percentile(taken, [50, 99]) / 1000
    return float(p50), float(p99)


async def requests(work: Path) -> None:
    head(f"what it adds to a request, µs; {ROUNDS} rounds of {REQUESTS:,} in turns")
    for steps, (name, more) in [
        (1, ("an experiment", {})),
        (1, ("with targeting, layer and holdout", EVERYTHING)),
        (5, ("five of those, each", EVERYTHING)),
    ]:
        plain = Engine(ranked(steps), {}, work)
        trying = Engine(ranked(steps), tried(steps, **more), work)
        for engine in (plain, trying):
            await round_of(engine, WARM)
        gc.collect()
        gc.freeze()  # as the server does when it begins
        pairs = [(await round_of(plain, REQUESTS), await round_of(trying, REQUESTS)) for _ in range(ROUNDS)]
        added = np.array([np.subtract(after, before) for before, after in pairs]) / steps
        p50, p99 = np.median(added, axis=0)
        whole = np.median([after[1] for _, after in pairs])
        low, high = np.percentile(added[:, 1], [10, 90])
        spread = f"p50 {p50:.1f}; p99 of the rounds {low:.1f} to {high:.1f}, of a whole request {whole:.0f}"
        row(f"{name}: p99 with less p99 without", float(p99), GOAL, limits=spread)


def parts(work: Path) -> None:
    """The same by part: each call timed, p99."""
    head(f"by part, p99 in µs of {CALLS:,} calls")
    engine = Engine(ranked(1), tried(1, **EVERYTHING), work)
    experiments = engine.pipeline.experiments
    assert experiments is not None
    values = {"request.store": "330"}
    made = experiments.assign({**values, "request.customer": "7"}, ("customer",), {})

    def assign(number: int) -> object:
        return experiments.assign({**values, "request.customer": f"shopper-{number}"}, ("customer",), {})

    measured: dict[str, Callable[[int], object]] = {
        "to assign": assign,
        "to say it, in body and header": lambda _: (told(made), header(made)),
        "to count it": lambda _: engine.metrics.experiments.request(
            "basket", made, 0.01, answered=True, degraded=False
        ),
    }
    for name, call in measured.items():
        p50, p99 = _timed(call)
        row(name, p99, GOAL, limits=f"p50 {p50:.2f}")


def _timed(call: Callable[[int], object]) -> tuple[float, float]:
    taken = np.empty(CALLS)
    for number in range(CALLS):
        began = thread_time_ns()
        call(number)
        taken[number] = thread_time_ns() - began
    p50, p99 = np.percentile(taken, [50, 99]) / 1000
    return float(p50), float(p99)


def compilations(work: Path) -> None:
    """The basket graph of the other benches: two recalls, a learned rank, two filters, variety."""
    graph = basket.basket("http://127.0.0.1:9")
    inputs = graph.steps[2]["rank"]["inputs"]
    treatment = [{**HALVES[0]}, {"name": "treatment", "model": "basket-ranker", "inputs": inputs, **_half()}]
    several = {
        f"x{number}": experiment(
            id=f"{number}",
            salt=f"x{number}",
            variants=treatment,
            layer={"name": "rank", "buckets": [f"{number * 2000}-{number * 2000 + 2000}"]},
        )
        for number in range(5)
    }
    head("compiling the basket graph, ms of CPU", "without")
    without = compiled(graph, {}, work)
    row("with an experiment on its rank", compiled(graph, {"x0": several["x0"]}, work), "< 1000", without)
    row("with five of them in one layer", compiled(graph, several, work), "< 1000", without)


def _half() -> dict[str, Any]:
    return {"buckets": ["5000-10000"], "weight": 5000}


def compiled(graph: Graph, experiments: Mapping[str, Any], work: Path) -> float:
    return float(np.median(list(_compiled(graph, experiments, work)))) * 1000


def _compiled(graph: Graph, experiments: Mapping[str, Any], work: Path) -> Iterator[float]:
    for _ in range(5):
        began = thread_time()
        Engine(graph, experiments, work)
        yield thread_time() - began


async def main() -> int:
    began = monotonic()
    with tempfile.TemporaryDirectory(prefix="endcap-bench-") as temporary:
        work = Path(temporary)
        await requests(work)
        parts(work)
        compilations(work)
    print(f"\n{monotonic() - began:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
