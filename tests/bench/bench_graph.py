# SPDX-License-Identifier: Apache-2.0
"""The graph engine through real sockets: CPU a request without its upstreams, beside the floor and KServe's router.

The server under test has a core to itself; the load and model servers that cost almost nothing share the other. The
router forwards the same calls to the same servers. It translates, merges, ranks, filters and explains nothing.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

sys.path.append(str(Path(__file__).resolve().parent.parent))

import basket
import graphs
import httpx
import psutil
from kserve_router import ROUTER_PORT, Router, built
from load import request_bytes
from model_servers import free_port

HERE = Path(__file__).resolve().parent
CONNECTIONS, ROUNDS, SECONDS = 16, 3, 3.0
# CPU µs a request of KServe's router, measured on another day, for where it cannot be built: 1 call, 2 calls, 2 + 1.
RECORDED = {"one call": 108.0, "two calls": 173.0, "basket": 277.0 + 108.0}
FLOOR = """
import uvicorn
async def app(scope, receive, send):
    await receive()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"{}"})
uvicorn.run(app, port=PORT, loop="uvloop", http="httptools", lifespan="off", access_log=False, log_level="error")
"""


class Figures(NamedTuple):
    """Requests/s, latency in ms, and the server's CPU in µs a request."""

    rate: float
    p50: float
    p99: float
    cpu: float


def pinned(core: int) -> list[str]:
    return ["taskset", "-c", str(core)] if (os.cpu_count() or 1) > 1 else []


@contextmanager
def process(command: list[str], core: int) -> Iterator[subprocess.Popen[bytes]]:
    environ = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "GOMAXPROCS": "1"}
    running = subprocess.Popen(
        [*pinned(core), *command], env=environ, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        yield running
    finally:
        running.kill()
        running.wait()


@contextmanager
def engine(graph: graphs.Graph, work: Path) -> Iterator[tuple[int, int]]:
    """The graph server: its port and its process."""
    with graphs.serving(graph, work, items=basket.items()) as server:
        psutil.Process(server.process.pid).cpu_affinity([0])
        yield server.port, server.process.pid


@contextmanager
def floor(_work: Path) -> Iterator[tuple[int, int]]:
    """An ASGI app that does nothing, on the same server."""
    port = free_port()
    with process([sys.executable, "-c", FLOOR.replace("PORT", str(port))], 0) as running:
        yield port, running.pid


@contextmanager
def router(binary: Path, graph: Router) -> Iterator[tuple[int, int]]:
    with process([str(binary), "--graph-json", json.dumps(graph)], 0) as running:
        yield ROUTER_PORT, running.pid


def wait(port: int, path: str, body: bytes) -> None:
    for _ in range(400):
        try:
            answer = httpx.post(
                f"http://127.0.0.1:{port}{path}", content=body, headers={"content-type": "application/json"}
            )
        except httpx.TransportError:
            time.sleep(0.05)
        else:
            if answer.status_code != 200:
                raise SystemExit(f"answered {answer.status_code}: {answer.text[:500]}")
            return
    raise SystemExit(f"nothing answers POST {path} on port {port}")


def cpu_seconds(pid: int) -> float:
    times = psutil.Process(pid).cpu_times()
    return times.user + times.system


def measured(port: int, pid: int, path: str, body: bytes, work: Path) -> Figures:
    """The median of a few rounds."""
    wait(port, path, body)
    request = work / "request"
    request.write_bytes(request_bytes(path, body))
    rounds = [_round(port, pid, request) for _ in range(ROUNDS)]
    return Figures(*(statistics.median(column) for column in zip(*rounds, strict=True)))


def _round(port: int, pid: int, request: Path) -> Figures:
    command = [
        *pinned(1), sys.executable, str(HERE / "load.py"), str(port), str(request),
        "--connections", str(CONNECTIONS), "--seconds", str(SECONDS), "--warm", "0",
    ]  # fmt: skip
    before = cpu_seconds(pid)
    found = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
    spent = cpu_seconds(pid) - before
    if found["failures"]:
        raise SystemExit(f"{found['failures']} of {found['requests']} requests failed")
    return Figures(found["rate"], found["p50"], found["p99"], spent / found["requests"] * 1e6)


GRAPHS: dict[str, Callable[[str], graphs.Graph]] = {
    "one call": basket.one_call,
    "two calls": basket.two_calls,
    "basket": basket.basket,
}


def ours(upstream: str, work: Path) -> Iterator[tuple[str, Figures]]:
    with floor(work) as (port, pid):
        yield "floor", measured(port, pid, "/", b"{}", work)
    body = json.dumps(basket.REQUEST).encode()
    for name, graph in GRAPHS.items():
        with engine(graph(upstream), work / name.replace(" ", "-")) as (port, pid):
            yield name, measured(port, pid, "/basket", body, work)


def theirs(upstream: str, work: Path) -> Iterator[tuple[str, Figures]]:
    """The same numbers of calls by KServe's router; nothing when it cannot be built here."""
    binary = built()
    if binary is None:
        return
    call = {"serviceUrl": f"{upstream}/predict", "data": "$request"}
    steps: dict[str, Router] = {
        "one call": {"nodes": {"root": {"routerType": "Sequence", "steps": [call]}}},
        "two calls": {"nodes": {"root": {"routerType": "Sequence", "steps": [call, call]}}},
        "basket": {
            "nodes": {
                "root": {"routerType": "Sequence", "steps": [{"nodeName": "both", "data": "$request"}, call]},
                "both": {"routerType": "Ensemble", "steps": [{**call, "name": "a"}, {**call, "name": "b"}]},
            }
        },
    }
    body = json.dumps({"columns": {"store": ["7"]}}).encode()
    for name, graph in steps.items():
        with router(binary, graph) as (port, pid):
            yield name, measured(port, pid, "/", body, work)


def main() -> int:
    port = free_port()
    answering = [sys.executable, str(HERE / "answering.py"), str(port)]
    with tempfile.TemporaryDirectory(prefix="endcap-bench-") as temporary, process(answering, 1):
        upstream, work = f"http://127.0.0.1:{port}", Path(temporary)
        found, peers = dict(ours(upstream, work)), dict(theirs(upstream, work))
    show(found, peers)
    return 0


def show(found: dict[str, Figures], peers: dict[str, Figures]) -> None:
    print(f"\n{CONNECTIONS} connections        {'requests/s':>12}{'p50 ms':>9}{'p99 ms':>9}{'CPU µs':>9}")
    for who, rows in (("Endcap", found), ("router", peers)):
        for name, row in rows.items():
            print(f"{who + ', ' + name:22}{row.rate:>14,.0f}{row.p50:>9.2f}{row.p99:>9.2f}{row.cpu:>9.0f}")
    source = "KServe's router in this run" if peers else "KServe's router as recorded"
    print(f"\n{'CPU µs a request; peer: ' + source:52}{'measured':>9}{'peer':>9}{'ratio':>8}{'goal':>10}")
    for name, goal in (("one call", 0.5), ("two calls", 0.5), ("basket", 1.0)):
        peer = peers[name].cpu if peers else RECORDED[name]
        line(name, found[name].cpu, peer, goal)
    line("engine above an empty ASGI app, one call", found["one call"].cpu, found["floor"].cpu, 2.0)


def line(name: str, measured: float, peer: float, goal: float) -> None:
    ratio = measured / peer
    verdict = "ok" if ratio <= goal else "short"
    print(f"{name:52}{measured:>9.0f}{peer:>9.0f}{ratio:>8.2f}{f'≤ {goal:.2f} ×':>10}  {verdict}")


if __name__ == "__main__":
    sys.exit(main())
