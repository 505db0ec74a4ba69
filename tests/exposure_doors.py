# SPDX-License-Identifier: Apache-2.0
"""A door for exposures that a test holds: a real server on loopback that takes, refuses, hangs or is away.

async with ExposureDoor() as door:
    outbox = Outbox(Ingest(door.url), Told())
    door.answers = lambda exposures: Reply(503, retry_after=1)
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Self

from model_servers import free_port


class Reply(NamedTuple):
    status: int
    body: dict[str, Any] | None = None
    retry_after: str | None = None


TAKEN = Reply(202, {"accepted": 0})


def refusing(*fields: str) -> Reply:
    """422 as ingest says it."""
    return Reply(
        422, {"status": 422, "errors": [{"field": each, "message": "does not fit"} for each in fields]}
    )


@dataclass
class ExposureDoor:
    """`taken` are the exposures that it took, in order; `batches` the sizes of all requests."""

    answers: Callable[[list[dict[str, Any]]], Reply] = lambda _: TAKEN
    hangs: bool = False
    taken: list[dict[str, Any]] = field(default_factory=list)
    batches: list[int] = field(default_factory=list)
    opened: int = 0
    port: int = field(default_factory=free_port)
    _server: asyncio.Server | None = None
    _writers: set[asyncio.StreamWriter] = field(default_factory=set)
    _tasks: set[asyncio.Task[Any]] = field(default_factory=set)

    async def __aenter__(self) -> Self:
        await self.listen()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.leave()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def units(self) -> list[str]:
        return [each["unit"] for each in self.taken]

    async def listen(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)

    async def leave(self) -> None:
        """Closes what is open and listens no more; `listen` comes back on the same port."""
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
                while True:
                    await self._one(reader, writer)
        finally:
            self._writers.discard(writer)
            self._tasks.discard(task)
            writer.close()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        first, *lines = head.split("\r\n")[:-2]
        assert first == "POST /v1/exposures HTTP/1.1"
        headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
        assert headers["content-type"] == "application/json"
        exposures = json.loads(await reader.readexactly(int(headers["content-length"])))["exposures"]
        self.batches.append(len(exposures))
        if self.hangs:
            await asyncio.sleep(3600)
        reply = self.answers(exposures)
        if reply.status == TAKEN.status:
            self.taken += exposures
        writer.write(_message(reply))
        await writer.drain()


def _message(reply: Reply) -> bytes:
    body = json.dumps(reply.body or {}).encode()
    lines = [f"HTTP/1.1 {reply.status} Whatever", f"content-length: {len(body)}"]
    if reply.retry_after is not None:
        lines.append(f"retry-after: {reply.retry_after}")
    return "\r\n".join([*lines, "", ""]).encode() + body
