# SPDX-License-Identifier: Apache-2.0
"""What a shadow costs who does not see it: what shoppers wait beside the same graph without it, at a steady rate.

Rounds of all kinds follow each other, so that what else runs on the machine is shared between them.
"""

from __future__ import annotations

import asyncio
import socket
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from statistics import median
from typing import NamedTuple

sys.path += [str(Path(__file__).resolve().parents[place]) for place in (1, 2)]

import basket
import httpx
import psutil
from bench_graph import process
from builders import column
from graphs import Graph, GraphServer, serving
from model_servers import free_port
from paced import Waited, paced
from shop_exposures import CHALLENGER, Tried, experiment
from table import head, row

ANSWERING = Path(__file__).resolve().parents[1] / "answering.py"
RATE, REQUESTS, ROUNDS = 100.0, 400, 5
# What a shadow may add to a shopper's wait: of its own work, a call and a comparison, the loop does little at a time.
MOST = 1.25
KINDS = ("none", "answers", "hangs", "is dead")


class Round(NamedTuple):
    waited: Waited
    cpu_ms: float


def shadowed(url: str, beside: str) -> Graph:
    """The basket, its ranker beside another of the same inputs."""
    graph = basket.basket(url)
    ranker = {
        "inputs": [column(f"f{number}") for number in range(basket.FEATURES)],
        "outputs": [column("score")],
    }
    variants = [
        {"name": "control", "baseline": True, "buckets": ["0-5000"], "weight": 5000},
        {"name": "treatment", "model": CHALLENGER, "buckets": ["5000-10000"], "weight": 5000},
    ]
    value = experiment(mode="shadow", variants=variants)
    return Tried.of(graph.model(CHALLENGER, beside, **ranker), {"ranker-v2": value})


@contextmanager
def models() -> Iterator[str]:
    port = free_port()
    with process([sys.executable, str(ANSWERING), str(port)], 1):
        _wait(port)
        yield f"http://127.0.0.1:{port}"


def _wait(port: int) -> None:
    for _ in range(400):
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise SystemExit(f"nothing listens on port {port}")


@contextmanager
def deaf() -> Iterator[str]:
    """Takes connections, and never says anything."""
    with closing(socket.create_server(("127.0.0.1", 0), backlog=512)) as listening:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"


def one(server: GraphServer) -> Round:
    running = psutil.Process(server.process.pid)
    began = running.cpu_times()

    def body(number: int) -> dict[str, object]:
        return {**basket.REQUEST, "customer": str(number)}

    waited = asyncio.run(paced(server.port, body, REQUESTS, RATE))
    ended = running.cpu_times()
    cpu = ended.user + ended.system - began.user - began.system
    return Round(waited, cpu / REQUESTS * 1000)


def compared(server: GraphServer) -> str:
    text = httpx.get(f"{server.url}/metrics").text
    lines = [line for line in text.splitlines() if line.startswith("endcap_experiment_shadow_total")]
    return ", ".join(f"{_outcome(line)} {float(line.rsplit(' ', 1)[1]):,.0f}" for line in lines)


def _outcome(line: str) -> str:
    return line.split('outcome="', 1)[1].split('"', 1)[0]


def main() -> None:
    head(f"{RATE:g} requests/s, a shadow that …", "without")
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        work, url = Path(folder), stack.enter_context(models())
        beside = {
            "answers": stack.enter_context(models()),
            "hangs": stack.enter_context(deaf()),
            "is dead": f"http://127.0.0.1:{free_port()}",
        }
        servers = {
            kind: stack.enter_context(
                serving(
                    shadowed(url, beside[kind]) if kind in beside else basket.basket(url),
                    work / kind.replace(" ", "-"),
                    items=basket.items(),
                )
            )
            for kind in KINDS
        }
        rounds: dict[str, list[Round]] = {kind: [] for kind in KINDS}
        for _ in range(ROUNDS):
            for kind, server in servers.items():
                rounds[kind].append(one(server))
        _table(rounds, {kind: compared(server) for kind, server in servers.items()})


def _table(rounds: dict[str, list[Round]], outcomes: dict[str, str]) -> None:
    figures = {
        kind: {
            "p50": median(each.waited.p50 for each in found),
            "p99": median(each.waited.p99 for each in found),
            "cpu": median(each.cpu_ms for each in found),
            "failures": sum(each.waited.failures for each in found),
        }
        for kind, found in rounds.items()
    }
    alone = figures["none"]
    for kind in KINDS[1:]:
        found = figures[kind]
        row(f"{kind}: requests that were not answered", found["failures"], "≤ 0", limits=outcomes[kind])
        for name in ("p50", "p99"):
            row(f"{kind}: {name}, ms", found[name], f"≤ {MOST * alone[name]:.3g}", alone[name])
        row(f"{kind}: CPU a request, ms", found["cpu"], f"≤ {2 * alone['cpu']:.3g}", alone["cpu"])


if __name__ == "__main__":
    main()
