# SPDX-License-Identifier: Apache-2.0
"""A closed-loop HTTP/1.1 load generator: each connection sends its next request when it has its answer.

Runs as a process of its own on a core of its own and prints one JSON object.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from pathlib import Path

import httptools
import uvloop

_OK = b"HTTP/1.1 200 "


class Connection(asyncio.Protocol):
    """One connection: counts answers and their latencies while `measuring`.

    The first answer is parsed; a later one that is as long and whose status line is 200 is taken for the same, so
    that the generator costs a fraction of what it measures.
    """

    def __init__(self, request: bytes, latencies: list[float], failures: list[int]) -> None:
        self.request = request
        self.latencies = latencies
        self.failures = failures
        self.measuring = False
        self.stopped = False
        self.parser: httptools.HttpResponseParser | None = None
        self.length = self.received = 0
        self.loop = asyncio.get_running_loop()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self._send()

    def _send(self) -> None:
        self.received = 0
        self.sent = time.perf_counter()
        self.transport.write(self.request)

    def data_received(self, data: bytes) -> None:
        if self.parser is None and len(data) == self.length and data.startswith(_OK):
            self._answered(200)
            return
        if self.parser is None:
            self.parser = httptools.HttpResponseParser(self)
        self.received += len(data)
        self.parser.feed_data(data)

    def on_message_complete(self) -> None:
        status = self.parser.get_status_code()
        self.loop.call_soon(self._parsed, status)

    def _parsed(self, status: int) -> None:
        self.parser, self.length = None, self.received
        self._answered(status)

    def _answered(self, status: int) -> None:
        if self.measuring:
            self.latencies.append(time.perf_counter() - self.sent)
            if status != 200:
                self.failures.append(status)
        if self.stopped:
            self.transport.close()
        else:
            self._send()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.stopped:
            self.failures.append(0)


async def load(
    server: int | str, request: bytes, connections: int, warm: float, seconds: float
) -> dict[str, float]:
    """Requests/s, latencies in ms, and how many answers were not 200. `server` is a port or a UNIX socket."""
    latencies: list[float] = []
    failures: list[int] = []
    protocols = [
        await connected(server, Connection(request, latencies, failures)) for _ in range(connections)
    ]
    await asyncio.sleep(warm)
    await _measure(protocols, seconds)
    for protocol in protocols:
        protocol.stopped = True
    latencies.sort()
    return {
        "requests": len(latencies),
        "rate": len(latencies) / seconds,
        "p50": latencies[len(latencies) // 2] * 1000,
        "p99": latencies[int(len(latencies) * 0.99)] * 1000,
        "failures": len(failures),
    }


async def connected(server: int | str, protocol: Connection) -> Connection:
    loop = asyncio.get_running_loop()
    if isinstance(server, str):
        await loop.create_unix_connection(lambda: protocol, server)
    else:
        await loop.create_connection(lambda: protocol, "127.0.0.1", server)
    return protocol


async def _measure(protocols: list[Connection], seconds: float) -> None:
    for protocol in protocols:
        protocol.measuring = True
    await asyncio.sleep(seconds)
    for protocol in protocols:
        protocol.measuring = False


def request_bytes(path: str, body: bytes, headers: dict[str, str] | None = None) -> bytes:
    """A whole POST request."""
    fields = {"Host": "127.0.0.1", "Content-Type": "application/json", "Content-Length": str(len(body))}
    lines = [f"{name}: {value}" for name, value in (fields | (headers or {})).items()]
    return "\r\n".join([f"POST {path} HTTP/1.1", *lines, "", ""]).encode() + body


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("server", help="a port on loopback, or the path of a UNIX socket")
    parser.add_argument("request", type=Path, help="file that holds the bytes of one request")
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--warm", type=float, default=0.5)
    parser.add_argument("--seconds", type=float, default=3.0)
    given = parser.parse_args()
    server = int(given.server) if given.server.isdigit() else given.server
    work = load(server, given.request.read_bytes(), given.connections, given.warm, given.seconds)
    json.dump(uvloop.run(work), sys.stdout)


if __name__ == "__main__":
    main()
