# SPDX-License-Identifier: Apache-2.0
"""What a call to a model costs the graph: CPU of the caller beside a bare socket and general-purpose clients.

The server is a process of its own, so that what is measured is the caller: CPU, not elapsed time.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import sys
import time
from collections.abc import Awaitable, Callable
from contextlib import contextmanager
from functools import cache
from multiprocessing.connection import Connection
from typing import Any

import aiohttp
import httptools
import httpx
import numpy as np
import uvloop

from endcap_api.runtime_config import ModelContract
from endcap_api.v1alpha1.values import Column
from endcap_runtime.graph.upstream import Call, Models
from endcap_runtime.graph.upstream.codec import codec_of
from endcap_runtime.wire import oip
from endcap_runtime.wire.tensor_columns import tensors_of

CALLS = 5_000
FEATURES = 12
GOAL_US = 50.0


def contract(port: int) -> ModelContract:
    inputs = [Column(name=f"f{n}", type="number") for n in range(FEATURES)]
    return ModelContract(
        url=f"http://127.0.0.1:{port}", inputs=inputs, outputs=[Column(name="score", type="number")]
    )


class _Scores(asyncio.Protocol):
    """Answers with as many scores as the request has rows."""

    def __init__(self) -> None:
        self._parser = httptools.HttpRequestParser(self)
        self._body = b""
        self._head = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: Any = transport

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_header(self, name: bytes, value: bytes) -> None:
        if name.lower() == oip.LENGTH_HEADER:
            self._head = int(value)

    def on_body(self, body: bytes) -> None:
        self._body += body

    def on_message_complete(self) -> None:
        rows = oip.parse_request(self._body, self._head).inputs[0].shape[0]
        self._body = b""
        self._transport.write(answer_of(rows))


@cache
def answer_of(rows: int) -> bytes:
    scores = np.random.default_rng(0).random(rows)
    message = oip.response(
        {"model_name": "m"}, tensors_of([Column(name="score", type="number")], {"score": scores}), [True]
    )
    head = f"HTTP/1.1 200 OK\r\nendcap-model: m@1\r\ncontent-length: {len(message.body)}\r\n"
    return f"{head}inference-header-content-length: {message.head}\r\n\r\n".encode() + message.body


def _serve(pipe: Connection) -> None:
    async def run() -> None:
        server = await asyncio.get_running_loop().create_server(_Scores, "127.0.0.1", 0)
        pipe.send(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    uvloop.run(run())


@contextmanager
def served() -> Any:
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=_serve, args=(theirs,), daemon=True)
    process.start()
    try:
        yield ours.recv()
    finally:
        process.terminate()
        process.join()


async def cpu_us(ask: Callable[[], Awaitable[Any]], calls: int = CALLS) -> float:
    """CPU of this process a call, in µs; the best of three rounds."""
    for _ in range(200):
        await ask()
    rounds = []
    for _ in range(3):
        start = time.process_time()
        for _ in range(calls // 3):
            await ask()
        rounds.append((time.process_time() - start) / (calls // 3) * 1e6)
    return min(rounds)


class _Bare(asyncio.Protocol):
    """The floor: write bytes, take the bytes that come."""

    def __init__(self, expected: int) -> None:
        self._expected = expected
        self._got = 0
        self._waiter: asyncio.Future[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: Any = transport

    def data_received(self, data: bytes) -> None:
        self._got += len(data)
        if self._got >= self._expected and self._waiter:
            self._got -= self._expected
            self._waiter.set_result(None)

    async def ask(self, request: bytes) -> None:
        self._waiter = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        await self._waiter


def request_of(rows: int, port: int) -> tuple[dict[str, str], bytes]:
    columns = {f"f{n}": np.arange(rows, dtype=np.float64) for n in range(FEATURES)}
    body = codec_of("m", contract(port)).encode(columns)
    lines = body.headers.decode().strip().split("\r\n")
    return dict(line.split(": ", 1) for line in lines), body.content


async def bare(rows: int, port: int) -> float:
    headers, body = request_of(rows, port)
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    start = f"POST /v2/models/m/infer HTTP/1.1\r\nhost: x\r\n{lines}content-length: {len(body)}\r\n\r\n"
    request, size = start.encode() + body, len(answer_of(rows))
    _, protocol = await asyncio.get_running_loop().create_connection(lambda: _Bare(size), "127.0.0.1", port)
    return await cpu_us(lambda: protocol.ask(request))


async def ours(rows: int, port: int) -> float:
    models = Models()
    model = models.model("m", contract(port))
    columns = {f"f{n}": np.arange(rows, dtype=np.float64) for n in range(FEATURES)}
    loop = asyncio.get_running_loop()
    measured = await cpu_us(lambda: model.predict(columns, rows, Call(loop.time() + 1.0, "r-1")))
    await models.aclose()
    return measured


async def transport_only(rows: int, port: int) -> float:
    """Our connection, without encoding and decoding."""
    models = Models()
    model = models.model("m", contract(port))
    encoded = model._codec.encode({f"f{n}": np.arange(rows, dtype=np.float64) for n in range(FEATURES)})
    model._codec.encode = lambda _: encoded  # type: ignore[method-assign]
    loop = asyncio.get_running_loop()
    measured = await cpu_us(lambda: model._asked({}, Call(loop.time() + 1.0, "r-1"), loop.time() + 1.0))
    await models.aclose()
    return measured


async def together(rows: int, port: int, callers: int = 16) -> float:
    """A caller's part of it when 16 ask in one turn of the event loop."""
    models = Models()
    model = models.model("m", contract(port))
    columns = {f"f{n}": np.arange(rows, dtype=np.float64) for n in range(FEATURES)}
    loop = asyncio.get_running_loop()

    async def turn() -> None:
        call = Call(loop.time() + 1.0, "r-1")
        await asyncio.gather(*(model.predict(columns, rows, call) for _ in range(callers)))

    measured = await cpu_us(turn, CALLS // callers)
    await models.aclose()
    return measured / callers


async def with_httpx(rows: int, port: int) -> float:
    headers, body = request_of(rows, port)
    async with httpx.AsyncClient() as client:
        return await cpu_us(
            lambda: client.post(f"http://127.0.0.1:{port}/", headers=headers, content=body), CALLS // 5
        )


async def with_aiohttp(rows: int, port: int) -> float:
    headers, body = request_of(rows, port)

    async with aiohttp.ClientSession() as session:

        async def ask() -> bytes:
            async with session.post(f"http://127.0.0.1:{port}/", headers=headers, data=body) as response:
                return await response.read()

        return await cpu_us(ask, CALLS // 5)


async def measure(rows: int, port: int) -> bool:
    floor = await bare(rows, port)
    added = await ours(rows, port) - floor
    verdict = "ok" if added <= GOAL_US else "short"
    table = {
        "bare socket on uvloop": floor,
        "our connection, pool and deadline, bytes only": await transport_only(rows, port),
        "our client: encoded, decoded and checked": floor + added,
        "the same, 16 callers in one turn": await together(rows, port),
        "aiohttp, bytes only": await with_aiohttp(rows, port),
        "httpx, bytes only": await with_httpx(rows, port),
    }
    print(f"\n{rows} rows of {FEATURES} numbers; CPU of the caller, µs a call")
    for name, value in table.items():
        print(f"  {name:48}{value:8.1f}{value - floor:+8.1f}")
    print(f"  our client adds {added:.1f} µs to a bare socket, goal {GOAL_US:.0f}: {verdict}")
    return verdict == "ok"


def main() -> int:
    results = []
    for rows in (1, 100, 250):
        with served() as port:
            results.append(uvloop.run(measure(rows, port)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
