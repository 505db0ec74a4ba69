# SPDX-License-Identifier: Apache-2.0
"""The model server beside stock BentoML, MLServer and KServe's Python server: one model, one machine, one run.

The servers take turns on one core while the load comes from the other; every figure is the median of three rounds.
"""

from __future__ import annotations

import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parent.parent))

import httptools
import psutil
from contestants import Contestant, Server, bentoml, endcap, environ_of, kserve, mlserver, save_model

LOAD = Path(__file__).resolve().parent / "load.py"
ROUNDS = 3
SECONDS = 3.0
START_SECONDS = 120
OURS = "Endcap, plain JSON"
STOCK_GOAL, PEER_GOAL = 20.0, 5.0


@dataclass(frozen=True)
class Figures:
    """Requests/s, latency in ms, and the server's CPU in µs a request."""

    rate: float
    p50: float
    p99: float
    cpu: float


def pinned(core: int) -> list[str]:
    return ["taskset", "-c", str(core)] if (os.cpu_count() or 1) > 1 else []


@contextmanager
def running(servers: Sequence[Server], work: Path) -> Iterator[dict[int, subprocess.Popen[bytes]]]:
    """Every server on the first core, by port; ended with the block."""
    processes = {}
    try:
        for server in servers:
            with (work / f"{server.port}.log").open("wb") as log:
                processes[server.port] = subprocess.Popen(
                    [*pinned(0), *server.command], env=environ_of(server, work), cwd=server.directory,
                    stdout=log, stderr=log,
                )  # fmt: skip
        yield processes
    finally:
        for process in processes.values():
            end(process)


def end(process: subprocess.Popen[bytes]) -> None:
    children = psutil.Process(process.pid).children(recursive=True) if process.poll() is None else []
    for each in [process, *children]:
        each.terminate()
    _, left = psutil.wait_procs([psutil.Process(process.pid)] if process.poll() is None else [], timeout=15)
    for each in left:
        each.kill()


def wait(contestant: Contestant, work: Path) -> None:
    """Until the contestant answers 200."""
    until = time.monotonic() + START_SECONDS
    while time.monotonic() < until:
        if answers(contestant):
            return
        time.sleep(0.2)
    log = (work / f"{contestant.server.port}.log").read_text()[-2000:]
    raise SystemExit(f"{contestant.name} does not answer:\n{log}")


def answers(contestant: Contestant) -> bool:
    parser = httptools.HttpResponseParser(object())
    try:
        with socket.create_connection(("127.0.0.1", contestant.server.port), timeout=5) as connection:
            connection.sendall(contestant.request)
            parser.feed_data(connection.recv(65536))
            return bool(parser.get_status_code() == 200)
    except OSError:
        return False


def cpu_seconds(pid: int) -> float:
    """Of the process and its children."""
    process = psutil.Process(pid)
    times = [each.cpu_times() for each in (process, *process.children(recursive=True))]
    return sum(each.user + each.system for each in times)


def measure(contestant: Contestant, pid: int, connections: int, work: Path) -> Figures:
    request = work / "request"
    request.write_bytes(contestant.request)
    command = [
        *pinned(1), sys.executable, str(LOAD), str(contestant.server.port), str(request),
        "--connections", str(connections), "--seconds", str(SECONDS), "--warm", "0",
    ]  # fmt: skip
    before = cpu_seconds(pid)
    done = subprocess.run(command, capture_output=True, check=True)
    spent = cpu_seconds(pid) - before
    found = json.loads(done.stdout)
    if found["failures"]:
        raise SystemExit(f"{contestant.name}: {found['failures']} of {found['requests']} requests failed")
    return Figures(found["rate"], found["p50"], found["p99"], spent / found["requests"] * 1e6)


def median(figures: Sequence[Figures]) -> Figures:
    columns = zip(*((each.rate, each.p50, each.p99, each.cpu) for each in figures), strict=True)
    return Figures(*(statistics.median(column) for column in columns))


def compare(contestants: Sequence[Contestant], work: Path) -> dict[int, dict[str, Figures]]:
    """Figures by connections and contestant; rounds at 16 connections, one look at 1 and 64."""
    servers = {each.server.port: each.server for each in contestants}
    with running(list(servers.values()), work) as processes:
        for contestant in contestants:
            wait(contestant, work)
        found: dict[int, dict[str, list[Figures]]] = {}
        for connections in [16] * ROUNDS + [1, 64]:
            row = found.setdefault(connections, {})
            for each in contestants:
                pid = processes[each.server.port].pid
                row.setdefault(each.name, []).append(measure(each, pid, connections, work))
    return {
        connections: {name: median(many) for name, many in row.items()} for connections, row in found.items()
    }


def show(found: dict[int, dict[str, Figures]]) -> None:
    print(f"\n{'server':28}{'connections':>12}{'requests/s':>12}{'p50 ms':>9}{'p99 ms':>9}{'CPU µs':>9}")
    for connections in sorted(found):
        for name, figures in found[connections].items():
            rate, p50, p99, cpu = figures.rate, figures.p50, figures.p99, figures.cpu
            print(f"{name:28}{connections:>12}{rate:>12,.0f}{p50:>9.2f}{p99:>9.2f}{cpu:>9.0f}")


def goals(at_sixteen: dict[str, Figures]) -> Iterator[tuple[str, float, float, str, float, bool]]:
    """measured, peer's, goal and whether it is reached, for each goal of the model server."""
    ours = at_sixteen[OURS]
    peers = {name: figures for name, figures in at_sixteen.items() if not name.startswith("Endcap")}
    stock = peers["BentoML stock"]
    best = max((name for name in peers if not name.startswith("BentoML")), key=lambda name: peers[name].rate)
    yield from rate_goal("BentoML stock", ours.rate, stock.rate, STOCK_GOAL)
    yield from rate_goal(f"best other peer ({best})", ours.rate, peers[best].rate, PEER_GOAL)
    for name, figures in peers.items():
        ratio = ours.p99 / figures.p99
        yield f"p99 ms, {name}", ours.p99, figures.p99, "< 1.00 ×", ratio, ratio < 1


def rate_goal(
    peer: str, ours: float, theirs: float, goal: float
) -> Iterator[tuple[str, float, float, str, float, bool]]:
    ratio = ours / theirs
    yield f"requests/s, {peer}", ours, theirs, f"≥ {goal:.2f} ×", ratio, ratio >= goal


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="endcap-bench-") as temporary:
        work = Path(temporary)
        save_model(work)
        found = compare([each for make in (endcap, bentoml, mlserver, kserve) for each in make(work)], work)
    show(found)
    print(f"\n{'at 16 connections':44}{'measured':>12}{'peer':>12}{'ratio':>9}{'goal':>12}  ")
    for name, ours, theirs, goal, ratio, reached in goals(found[16]):
        print(
            f"{name:44}{ours:>12,.2f}{theirs:>12,.2f}{ratio:>9.2f}{goal:>12}  {'ok' if reached else 'short'}"
        )


if __name__ == "__main__":
    main()
