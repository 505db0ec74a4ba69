# SPDX-License-Identifier: Apache-2.0
"""Lookups through the sidecar beside a raw MGET of the same keys and Feast's Python server: one machine, one run.

Whoever is measured has the first core; Redis and the load share the other. The goals are judged twice: as the sidecar
comes, with its near-cache, where most of a repeated request is answered from memory, and with it off, where every
request reads Redis as the raw client does. What Redis spends is told twice as well: in the command, as it counts
itself, and as a process, which is the command and the kernel that carries the bytes away.
The soak runs for ENDCAP_BENCH_REQUESTS requests (20,000; the goal is stated for 200,000).
"""

from __future__ import annotations

import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import astuple, dataclass
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parent.parent))

import features_shop
import httpx
import psutil
from contestants import SOURCES, environment
from feature_sidecars import Sidecar, sidecar
from load import request_bytes
from redis import Redis
from redis_servers import RedisServer, free_port, redis_server

HERE = Path(__file__).resolve().parent
ROUNDS, SECONDS = 3, 3.0
BINARY = {"Accept": "application/octet-stream"}
REQUESTS = int(os.environ.get("ENDCAP_BENCH_REQUESTS", "20000"))
ON, OFF = "sidecar, as it comes (near-cache on)", "sidecar, near-cache off"
RAW, FEAST = "raw MGET, redis-py", "Feast's Python server"


@dataclass(frozen=True)
class Figures:
    """Requests/s, latency in ms, CPU in µs a request: of who is measured, of Redis, and of its MGET alone."""

    rate: float
    p50: float
    p99: float
    cpu: float
    redis: float
    command: float


@dataclass(frozen=True)
class Spent:
    """Seconds that Redis has spent: as a process, and in MGET."""

    process: float
    command: float

    def until(self, later: Spent, requests: float) -> tuple[float, float]:
        """Microseconds a request, of both."""
        process, command = later.process - self.process, later.command - self.command
        return process / requests * 1e6, command / requests * 1e6


def pinned(core: int) -> list[str]:
    return ["taskset", "-c", str(core)] if (os.cpu_count() or 1) > 1 else []


def pin(pid: int, core: int) -> None:
    if (os.cpu_count() or 1) > 1:
        psutil.Process(pid).cpu_affinity([core])


def cpu_seconds(*pids: int) -> float:
    """Of the processes and their children."""
    every = [
        each for pid in pids for each in (psutil.Process(pid), *psutil.Process(pid).children(recursive=True))
    ]
    return sum(each.cpu_times().user + each.cpu_times().system for each in every)


class Bench:
    """The Redis, and where files of a run go."""

    def __init__(self, redis: RedisServer, work: Path) -> None:
        self.redis, self.work = redis, work

    def command(self, script: str, *arguments: str, core: int) -> dict[str, float]:
        """What a script measured; it prints one JSON object."""
        command = [*pinned(core), sys.executable, str(HERE / script), *arguments]
        done = subprocess.run(command, capture_output=True, check=True)
        found: dict[str, float] = json.loads(done.stdout)
        if found["failures"]:
            raise SystemExit(f"{found['failures']} of {found['requests']} requests failed")
        return found

    def spent(self) -> Spent:
        process = self.redis.process
        with Redis(port=self.redis.port) as client:
            told = client.info("commandstats").get("cmdstat_mget", {"usec": 0})
        return Spent(cpu_seconds(process.pid) if process else 0.0, told["usec"] / 1e6)

    def raw(self, keys: Path, connections: int) -> Figures:
        """The client itself is who is measured."""
        before = self.spent()
        found = self.command("raw_mget.py", str(self.redis.port), str(keys), *options(connections), core=0)
        redis = before.until(self.spent(), found["requests"])
        return Figures(found["rate"], found["p50"], found["p99"], found["cpu"], *redis)

    def served(self, server: str, pid: int, request: bytes, connections: int) -> Figures:
        file = self.work / "request"
        file.write_bytes(request)
        before, spent = self.spent(), cpu_seconds(pid)
        found = self.command("load.py", server, str(file), *options(connections), "--warm", "0", core=1)
        spent, count = cpu_seconds(pid) - spent, found["requests"]
        redis = before.until(self.spent(), count)
        return Figures(found["rate"], found["p50"], found["p99"], spent / count * 1e6, *redis)


def options(connections: int) -> list[str]:
    return ["--connections", str(connections), "--seconds", str(SECONDS)]


@contextmanager
def feast(redis: RedisServer, values: Path, work: Path) -> Iterator[tuple[int, int]]:
    """Its port and its process, on the first core; answering."""
    port = free_port()
    script = str(SOURCES / "feast_shop.py")
    command = [str(environment("feast") / "python"), script, str(work / "feast"), str(redis.port), str(port)]
    environ = {"PATH": os.environ["PATH"], "HOME": str(work), "TMPDIR": str(work)}
    with (work / "feast.log").open("wb") as log:
        process = subprocess.Popen([*pinned(0), *command, str(values)], env=environ, stdout=log, stderr=log)
    try:
        answering(port, work)
        yield port, process.pid
    finally:
        for each in [*psutil.Process(process.pid).children(recursive=True), psutil.Process(process.pid)]:
            each.terminate()
        process.wait(20)


def answering(port: int, work: Path) -> None:
    """Until it answers, and with what was written, not with nulls."""
    request = {"content": features_shop.feast_request(), "headers": {"content-type": "application/json"}}
    for _ in range(1200):
        try:
            answer = httpx.post(f"http://127.0.0.1:{port}/get-online-features", timeout=20, **request)
        except httpx.TransportError:
            time.sleep(0.1)
            continue
        statuses = {
            status for result in answer.raise_for_status().json()["results"] for status in result["statuses"]
        }
        if statuses != {"PRESENT"}:
            raise SystemExit(f"Feast answers {statuses}")
        return
    raise SystemExit(f"Feast does not answer:\n{(work / 'feast.log').read_text()[-2000:]}")


def median(figures: Sequence[Figures]) -> Figures:
    rows = [astuple(each) for each in figures]
    return Figures(*(statistics.median(column) for column in zip(*rows, strict=True)))


def compare(
    bench: Bench, config: dict[str, object], keys: Path, values: Path
) -> dict[tuple[str, int], Figures]:
    """Figures by name and connections; those that are compared take turns."""
    request = request_bytes("/v1/lookup", features_shop.request(), BINARY)
    rounds: dict[tuple[str, int], list[Figures]] = {}
    off, on = {"ENDCAP_NEAR_CACHE_BYTES": "0"}, {}
    with (
        sidecar(config, bench.work / "off", off) as plain,
        sidecar(config, bench.work / "on", on) as near,
        feast(bench.redis, values, bench.work) as (port, pid),
    ):
        for each in (plain, near):
            pin(each.process.pid, 0)
        for connections in [1, 16] * ROUNDS:
            rounds.setdefault((RAW, connections), []).append(bench.raw(keys, connections))
            for name, server in ((OFF, plain), (ON, near)):
                found = bench.served(str(server.socket), server.process.pid, request, connections)
                rounds.setdefault((name, connections), []).append(found)
        asked = request_bytes("/get-online-features", features_shop.feast_request())
        for connections in (1, 16):
            rounds[FEAST, connections] = [bench.served(str(port), pid, asked, connections)]
        soak(plain, request)
    return {key: median(many) for key, many in rounds.items()}


def soak(server: Sidecar, request: bytes) -> None:
    """Latency and memory by decile of many requests on one connection."""
    import socket

    process = psutil.Process(server.process.pid)
    p50, memory = [], []
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(server.socket))
        for _ in range(10):
            taken = [asked(connection, request) for _ in range(max(REQUESTS // 10, 100))]
            p50.append(statistics.median(taken) * 1000)
            memory.append(process.memory_info().rss / 2**20)
    print(f"\nsoak: {REQUESTS:,} requests on one connection, by tenth")
    print("p50 ms   " + " ".join(f"{value:7.3f}" for value in p50))
    print("RSS MiB  " + " ".join(f"{value:7.1f}" for value in memory))
    print(f"\n{'soak':44}{'last':>12}{'first':>12}{'ratio':>9}{'goal':>12}")
    line("p50 ms, last tenth over first", p50[-1], p50[0], "≤", 1.1)
    line("RSS MiB, last tenth over second", memory[-1], memory[1], "≤", 1.02)


def asked(connection: object, request: bytes) -> float:
    began = time.perf_counter()
    connection.sendall(request)  # type: ignore[attr-defined]
    head, _, rest = connection.recv(1 << 20).partition(b"\r\n\r\n")  # type: ignore[attr-defined]
    if not head.startswith(b"HTTP/1.1 200 "):
        raise SystemExit(head.decode())
    left = int(head.lower().rpartition(b"content-length: ")[2].split(b"\r\n")[0]) - len(rest)
    while left > 0:
        left -= len(connection.recv(left))  # type: ignore[attr-defined]
    return time.perf_counter() - began


def show(found: dict[tuple[str, int], Figures]) -> None:
    print(
        f"\n{'1 customer, 200 products, 12 features':40}{'connections':>12}{'requests/s':>12}"
        f"{'p50 ms':>9}{'p99 ms':>9}{'CPU µs':>9}{'Redis µs':>10}{'MGET µs':>9}"
    )
    for (name, connections), f in sorted(found.items(), key=lambda each: (each[0][1], -each[1].rate)):
        print(
            f"{name:40}{connections:>12}{f.rate:>12,.0f}{f.p50:>9.2f}{f.p99:>9.2f}"
            f"{f.cpu:>9.0f}{f.redis:>10.0f}{f.command:>9.0f}"
        )
    for name in (ON, OFF):
        judge(name, found)


def judge(name: str, found: dict[tuple[str, int], Figures]) -> None:
    ours, raw = found[name, 1], found[RAW, 1]
    print(f"\n{name:44}{'measured':>12}{'peer':>12}{'ratio':>9}{'goal':>12}")
    line("p50 ms, raw MGET", ours.p50, raw.p50, "≤", 1.5)
    line("p99 ms, raw MGET", ours.p99, raw.p99, "≤", 1.5)
    line("requests/s at 16 connections, Feast", found[name, 16].rate, found[FEAST, 16].rate, "≥", 60)
    line("p50 ms, absolute", ours.p50, 1.0, "≤", 1.5)
    line("p99 ms, absolute", ours.p99, 1.0, "≤", 5.0)
    line("Redis CPU ms a request, process", ours.redis / 1000, 1.0, "≤", 0.1)
    line("Redis CPU ms a request, MGET alone", ours.command / 1000, 1.0, "≤", 0.1)


def line(name: str, measured: float, peer: float, sign: str, goal: float) -> None:
    ratio = measured / peer
    reached = ratio <= goal if sign == "≤" else ratio >= goal
    wanted, verdict = f"{sign} {goal:.2f} ×", "ok" if reached else "short"
    print(f"{name:44}{measured:>12,.3f}{peer:>12,.3f}{ratio:>9.2f}{wanted:>12}  {verdict}")


def main() -> None:
    with (
        tempfile.TemporaryDirectory(prefix="endcap-bench-") as temporary,
        redis_server(Path(temporary) / "redis") as redis,
    ):
        work = Path(temporary)
        if redis.process is not None:
            pin(redis.process.pid, 1)
        config = features_shop.configuration(redis.url)
        compiled = asyncio.run(features_shop.fill(config))
        keys, values = work / "keys.json", work / "values.json"
        keys.write_text(json.dumps(features_shop.keys(compiled)))
        values.write_text(json.dumps(asyncio.run(features_shop.values_of(config))))
        show(compare(Bench(redis, work), config, keys, values))


if __name__ == "__main__":
    main()
