# SPDX-License-Identifier: Apache-2.0
"""A real model server on loopback that answers well, or fails in the way it is told to.

    async with Upstream(contract_inputs, contract_outputs, answer) as upstream:
        models.model("ranker", upstream.contract)
        upstream.behaviour = "nan"

It speaks both dialects of the model servers, counts what it is asked, and knows when a caller has hung up on it.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Literal, Self

from endcap_api.runtime_config import ModelContract
from endcap_api.v1alpha1.values import Column
from endcap_runtime.wire import oip
from endcap_runtime.wire.cells import columns_of
from endcap_runtime.wire.tensor_columns import columns_from, tensors_of

Behaviour = Literal[
    "well",
    "refuses",  # nobody listens; use `await upstream.refuse()`, and `listen()` to come back
    "hangs",  # reads, and never answers
    "slow",  # answers well after `delay` seconds
    "resets",  # closes instead of answering
    "resets_mid_body",
    "status_500",
    "status_422",
    "status_503",
    "status_504",  # at once, as a proxy with a time of its own does
    "late_504",  # after `delay` seconds, as a model server does whose caller's time is up
    "malformed_json",
    "not_http",
    "wrong_length",  # one row too few, in every column
    "missing_column",
    "wrong_type",
    "nan",
    "ragged",  # arrays of one row differ in length
    "huge",  # announces 100 MB, and sends them
    "huge_announced",  # announces 100 MB, and sends nothing
    "huge_chunked",  # sends 100 MB without announcing them
    "endless_header",  # 256 KB of a header that does not end, then nothing
    "says_close",  # answers well, announces the end of the connection, and hears no more on it
    "stale",  # answers well once a connection, and closes it when it is asked again
    "trails",  # answers well, and begins another answer
    "answers_twice",
    "spoils",  # passes the whole answer through `spoil`
    "interim",  # 100 Continue, then answers well
]
# Every way to fail a caller, and what the caller calls it.
FAILURES: dict[Behaviour, str] = {
    "refuses": "refused",
    "hangs": "timeout",
    "slow": "timeout",
    "resets": "reset",
    "resets_mid_body": "reset",
    "status_500": "status",
    "status_422": "status",
    "status_503": "status",
    "malformed_json": "malformed",
    "not_http": "malformed",
    "wrong_length": "malformed",
    "missing_column": "malformed",
    "wrong_type": "malformed",
    "nan": "malformed",
    "huge": "too_large",
    "huge_announced": "too_large",
    "huge_chunked": "too_large",
    "endless_header": "too_large",
}

Answer = Callable[[dict[str, list[Any]]], dict[str, list[Any]]]


@dataclass
class Received:
    """One call as it came."""

    path: str
    headers: dict[str, str]
    columns: dict[str, list[Any]]
    tensors: list[str]  # names of the tensors, when it came as tensors
    connection: int = 0  # which of the connections that were opened


@dataclass
class Upstream:
    """`answer` maps the columns of the inputs to those of the outputs, as plain lists."""

    inputs: list[Column]
    outputs: list[Column]
    answer: Answer
    label: str = "upstream@1"
    behaviour: Behaviour = "well"
    delay: float = 0.5
    spoil: Callable[[bytes], bytes] = bytes
    calls: list[Received] = field(default_factory=list)
    opened: int = 0
    hung_up: int = 0  # callers that left before they had their answer
    _server: asyncio.Server | None = None
    _port: int = 0
    _deaf: set[asyncio.StreamWriter] = field(default_factory=set)
    _spent: set[asyncio.StreamWriter] = field(default_factory=set)
    _writers: set[asyncio.StreamWriter] = field(default_factory=set)
    _tasks: set[asyncio.Task[Any]] = field(default_factory=set)

    async def __aenter__(self) -> Self:
        await self.listen()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.refuse()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    @property
    def contract(self) -> ModelContract:
        return ModelContract(url=f"http://127.0.0.1:{self._port}", inputs=self.inputs, outputs=self.outputs)

    @property
    def open(self) -> int:
        """Connections that are open now."""
        return len(self._writers)

    @property
    def tasks(self) -> set[asyncio.Task[Any]]:
        """What it runs itself."""
        return set(self._tasks)

    async def listen(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self._port, reuse_port=True)
        self._port = self._server.sockets[0].getsockname()[1]

    async def share_port_of(self, other: Upstream) -> None:
        """Stand beside `other` as a second replica behind one address; the kernel deals the connections out."""
        await self.refuse()
        self._port = other._port
        await self.listen()

    async def refuse(self) -> None:
        """Close what is open and listen no more."""
        if self._server is not None:
            self._server.close()
        for writer in list(self._writers):
            writer.transport.abort()
        await asyncio.sleep(0)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.opened += 1
        self._writers.add(writer)
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            with suppress(asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
                while await self._one(reader, writer):
                    pass
        finally:
            self._writers.discard(writer)
            self._tasks.discard(task)
            writer.close()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Answer one request; whether the connection goes on."""
        received = await self._received(reader)
        received.connection = writer.get_extra_info("peername")[1]
        self.calls.append(received)
        reply = asyncio.ensure_future(self._reply(received, writer))
        gone = asyncio.ensure_future(_gone(reader))
        await asyncio.wait({reply, gone}, return_when=asyncio.FIRST_COMPLETED)
        if not reply.done():
            self.hung_up += 1
        for each in (reply, gone):
            each.cancel()
        results = await asyncio.gather(reply, gone, return_exceptions=True)
        return results[0] is True

    async def _received(self, reader: asyncio.StreamReader) -> Received:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        first, *lines = head.split("\r\n")[:-2]
        headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
        body = await reader.readexactly(int(headers["content-length"]))
        return Received(first.split(" ")[1], headers, *self._columns(headers, body))

    def _columns(self, headers: Mapping[str, str], body: bytes) -> tuple[dict[str, list[Any]], list[str]]:
        length = headers.get(oip.LENGTH_HEADER.decode())
        if length is None:
            return json.loads(body)["columns"], []
        tensors = oip.parse_request(body, int(length)).inputs
        columns = {name: list(values) for name, values in columns_from(self.inputs, tensors).items()}
        return columns, [tensor.name for tensor in tensors]

    async def _reply(self, received: Received, writer: asyncio.StreamWriter) -> bool:
        how = self.behaviour
        if how == "hangs" or writer in self._deaf:
            await asyncio.sleep(3600)
        if how in ("slow", "late_504"):
            await asyncio.sleep(self.delay)
        if how == "resets" or writer in self._spent:
            writer.transport.abort()
            return False
        for piece in self._pieces(how, received):
            writer.write(piece)
            await writer.drain()
        if how == "resets_mid_body":
            writer.close()
        if how == "stale":
            self._spent.add(writer)
        if how == "says_close":
            self._deaf.add(writer)
        return how not in ("resets_mid_body", "not_http")

    def _pieces(self, how: Behaviour, received: Received) -> Iterable[bytes]:
        if how in FIXED:
            return FIXED[how]()
        if how.startswith("status_") or how == "late_504":
            problem = b'{"title": "no"}'
            return [_head(int(how[-3:]), {}, len(problem)) + problem]
        return self._answered(how, received)

    def _answered(self, how: Behaviour, received: Received) -> list[bytes]:
        columns = _spoiled(how, self.answer(received.columns))
        headers, body = self._encoded(received, columns)
        if how == "malformed_json":
            headers, body = {}, b'{"columns": {"score": [0.1, '
        headers["endcap-model"] = self.label
        if how == "says_close":
            headers["connection"] = "close"
        whole = _head(200, headers, len(body)) + body
        pieces = {
            "resets_mid_body": [whole[: -len(body) // 2]],
            "answers_twice": [whole + whole],
            "trails": [whole + b"HTTP/1.1 500 No\r\nx-a: b"],
            "spoils": [self.spoil(whole)],
            "interim": [b"HTTP/1.1 100 Continue\r\n\r\n" + whole],
        }
        return pieces.get(how, [whole])

    def _encoded(self, received: Received, columns: dict[str, list[Any]]) -> tuple[dict[str, str], bytes]:
        if not received.path.endswith("/infer"):
            body = json.dumps({"model": "upstream", "version": "1", "columns": columns}).encode()
            return {"content-type": "application/json"}, body
        present = [column for column in self.outputs if column.name in columns]
        try:
            tensors = tensors_of(present, columns_of(present, columns))
        except ValueError:  # a spoiled column, which the product's own code would not write
            tensors = [
                tensor for column in present for tensor in _spoiled_tensors(column, columns[column.name])
            ]
        message = oip.response({"model_name": "upstream"}, tensors, [True] * len(tensors))
        return {oip.LENGTH_HEADER.decode(): str(message.head)}, message.body


async def _gone(reader: asyncio.StreamReader) -> None:
    """Until the caller hangs up; a stream tells of its end only when asked."""
    while not reader.at_eof() and reader.exception() is None:  # noqa: ASYNC110
        await asyncio.sleep(0.001)


def _spoiled(how: Behaviour, columns: dict[str, list[Any]]) -> dict[str, list[Any]]:
    name = next(reversed(columns))
    spoil: dict[str, Callable[[list[Any]], list[Any]]] = {
        "wrong_type": lambda values: [["x"] if isinstance(value, list) else "x" for value in values],
        "nan": lambda values: [[float("nan")] if isinstance(v, list) else float("nan") for v in values],
        "ragged": lambda values: [[*value, *value, 0.0] for value in values],
    }
    if how == "wrong_length":
        return {key: values[:-1] for key, values in columns.items()}
    if how == "missing_column":
        return {key: values for key, values in columns.items() if key != name}
    return {**columns, name: spoil[how](columns[name])} if how in spoil else columns


def _spoiled_tensors(column: Column, values: list[Any]) -> list[Any]:
    kind = "string" if values and isinstance(values[0], str) else "number"
    return tensors_of([Column(name=column.name, type=kind)], {column.name: values})


def _head(status: int, headers: Mapping[str, str], length: int) -> bytes:
    lines = [f"{name}: {value}" for name, value in {**headers, "content-length": length}.items()]
    return "\r\n".join([f"HTTP/1.1 {status} Whatever", *lines, "", ""]).encode()


def _endless_header() -> Iterator[bytes]:
    yield b"HTTP/1.1 200 OK\r\nx-a: "
    yield from (b"a" * 65_536 for _ in range(4))


def _huge() -> Iterator[bytes]:
    yield _head(200, {}, 100_000_000)
    yield from (b"0" * 1_000_000 for _ in range(100))


def _huge_chunked() -> Iterator[bytes]:
    yield b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
    yield from (b"f4240\r\n" + b"0" * 1_000_000 + b"\r\n" for _ in range(100))


FIXED: dict[str, Callable[[], Iterable[bytes]]] = {
    "not_http": lambda: [b"220 smtp.example ESMTP ready\r\n"],
    "endless_header": _endless_header,
    "huge_announced": lambda: [_head(200, {}, 100_000_000)],
    "huge": _huge,
    "huge_chunked": _huge_chunked,
}
