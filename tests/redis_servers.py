# SPDX-License-Identifier: Apache-2.0
"""Real Redis servers on loopback, one or a cluster of three, that can be killed, paused and started again.

with redis_server(tmp_path) as server:
    client = server.client()      # redis-py, synchronous
    server.kill()                 # -9
    server.start()                # the same port and folder
    server.pause(); server.resume()

with redis_cluster(tmp_path) as cluster:
    cluster.url, cluster.nodes, cluster.move_slot(0, cluster.nodes[0], cluster.nodes[1])
"""

from __future__ import annotations

import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import redis

SLOTS = 16384
START_SECONDS = 20


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class RedisServer:
    """One server; `options` are redis-server's own, e.g. {"appendonly": "yes", "appendfsync": "always"}."""

    folder: Path
    options: dict[str, str] = field(default_factory=dict)
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None
    connect: dict[str, Any] = field(default_factory=dict)

    @property
    def scheme(self) -> str:
        return "rediss" if "tls-port" in self.options else "redis"

    @property
    def url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.port}"

    def client(self, **options: Any) -> Any:
        """A synchronous client of redis-py; answers are bytes. The caller closes it (or uses `with`)."""
        return redis.Redis("127.0.0.1", self.port, **{"socket_timeout": 10, **self.connect, **options})

    def start(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        port = (
            {"port": "0", "tls-port": str(self.port)} if self.scheme == "rediss" else {"port": str(self.port)}
        )
        options = {"bind": "127.0.0.1", "save": "", "dir": str(self.folder), **self.options, **port}
        arguments = [part for name, value in options.items() for part in (f"--{name}", *value.split(" "))]
        with (self.folder / "redis.log").open("ab") as log:
            self.process = subprocess.Popen(["redis-server", *arguments], stdout=log, stderr=log)
        self._wait()

    def _wait(self) -> None:
        until = time.monotonic() + START_SECONDS
        while not self._answers():
            if self.process is None or self.process.poll() is not None or time.monotonic() > until:
                raise RuntimeError((self.folder / "redis.log").read_text()[-2000:])
            time.sleep(0.02)

    def _answers(self) -> bool:
        """Whether it has loaded its data; one that wants a password answers, too."""
        try:
            with self.client() as client:
                return bool(client.ping())
        except redis.AuthenticationError:
            return True
        except redis.ConnectionError:
            return False

    def stop(self) -> None:
        """In order, as a pod that is ended: SIGTERM."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        self._end(signal.SIGKILL)

    def _end(self, number: int) -> None:
        if self.process is not None:
            self.process.send_signal(signal.SIGCONT)
            self.process.send_signal(number)
            self.process.wait(timeout=20)
            self.process = None

    def restart(self) -> None:
        self.stop()
        self.start()

    def pause(self) -> None:
        """The process stands still: connections stay open and nothing is answered."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._signal(signal.SIGCONT)

    def _signal(self, number: int) -> None:
        assert self.process is not None
        self.process.send_signal(number)


@contextmanager
def redis_server(folder: Path, **options: str) -> Iterator[RedisServer]:
    """`options` with _ for -: redis_server(tmp_path, appendonly="yes", appendfsync="no").

    A killed process loses nothing with `no` or `always`: what was answered is the kernel's. With `everysec` it may:
    while the disk is busy with an earlier fsync, Redis answers first and writes up to 2 s later.
    """
    server = RedisServer(folder, {name.replace("_", "-"): value for name, value in options.items()})
    try:
        server.start()
        yield server
    finally:
        server.kill()


@dataclass(frozen=True)
class RedisCluster:
    """Masters without replicas; each starts with its share of the slots, in order."""

    nodes: Sequence[RedisServer]

    @property
    def url(self) -> str:
        return self.nodes[0].url

    def client(self) -> Any:
        return redis.RedisCluster("127.0.0.1", self.nodes[0].port)

    def id_of(self, node: RedisServer) -> str:
        with node.client() as client:
            return str(client.execute_command("CLUSTER MYID").decode())

    def move_slot(self, slot: int, source: RedisServer, target: RedisServer, pause: float = 0) -> None:
        """Reshards one slot in the way of redis-cli; `pause` seconds with the slot half moved."""
        self.open_slot(slot, source, target)
        time.sleep(pause)
        self.drain_slot(slot, source, target)
        time.sleep(pause)
        self.close_slot(slot, target)

    def open_slot(self, slot: int, source: RedisServer, target: RedisServer) -> None:
        with source.client() as old, target.client() as new:
            new.execute_command("CLUSTER SETSLOT", slot, "IMPORTING", self.id_of(source))
            old.execute_command("CLUSTER SETSLOT", slot, "MIGRATING", self.id_of(target))

    def drain_slot(
        self, slot: int, source: RedisServer, target: RedisServer, keys: int | None = None
    ) -> None:
        """Moves all keys of the slot, or that many of them."""
        with source.client() as old:
            for key in old.execute_command("CLUSTER GETKEYSINSLOT", slot, keys or 1_000_000):
                old.execute_command("MIGRATE", "127.0.0.1", target.port, key, 0, 5000)

    def close_slot(self, slot: int, target: RedisServer) -> None:
        owner = self.id_of(target)
        for node in (target, *(node for node in self.nodes if node is not target)):
            with node.client() as client:
                client.execute_command("CLUSTER SETSLOT", slot, "NODE", owner)


def moved_around(cluster: RedisCluster, slots: Iterable[int], done: threading.Event) -> int:
    """Moves slots from node to node, again and again until `done`; how many moves that were."""
    owners = {slot: slot * len(cluster.nodes) // SLOTS for slot in sorted(slots)}
    moves = 0
    while not done.is_set():
        for slot, owner in list(owners.items()):
            owners[slot] = (owner + 1) % len(cluster.nodes)
            cluster.move_slot(slot, cluster.nodes[owner], cluster.nodes[owners[slot]], 0.01)
            moves += 1
            time.sleep(0.02)
    return moves


@contextmanager
def redis_cluster(folder: Path, size: int = 3, **options: str) -> Iterator[RedisCluster]:
    with ExitStack() as stack:
        nodes = []
        for number in range(size):
            bus = str(free_port())
            clustered = {"cluster_enabled": "yes", "cluster_port": bus, "cluster_node_timeout": "2000"}
            nodes.append(
                stack.enter_context(redis_server(folder / f"node-{number}", **{**clustered, **options}))
            )
        _join(nodes)
        yield RedisCluster(nodes)


def _join(nodes: Sequence[RedisServer]) -> None:
    first = nodes[0]
    for number, node in enumerate(nodes):
        with node.client() as client:
            start, end = SLOTS * number // len(nodes), SLOTS * (number + 1) // len(nodes) - 1
            client.execute_command("CLUSTER ADDSLOTSRANGE", start, end)
            client.execute_command("CLUSTER SET-CONFIG-EPOCH", number + 1)
            if node is not first:
                client.execute_command("CLUSTER MEET", "127.0.0.1", first.port, first.options["cluster-port"])
    until = time.monotonic() + START_SECONDS
    while not all(_knows_all(node, len(nodes)) for node in nodes):
        assert time.monotonic() < until, "the nodes do not find each other"
        time.sleep(0.05)


def _knows_all(node: RedisServer, size: int) -> bool:
    with node.client() as client:
        info = client.execute_command("CLUSTER INFO")
    return bool(info["cluster_state"] == "ok" and info["cluster_known_nodes"] == str(size))
