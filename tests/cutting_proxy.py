# SPDX-License-Identifier: Apache-2.0
"""A proxy in front of Redis that lets so many commands through and then cuts: a death between any two of them.

with cutting_proxy(redis.port) as proxy:
    proxy.cut_after(7, swallow=True)     # the seventh is done by Redis, but its answer never arrives
    proxy.cut.wait(5)
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress


def commands_in(buffer: bytearray) -> Iterator[bytes]:
    """Takes the whole commands (arrays of bulk strings) off the front of what a client has sent."""
    while (end := _end_of_command(buffer)) is not None:
        yield bytes(buffer[:end])
        del buffer[:end]


def _end_of_command(buffer: bytearray) -> int | None:
    line = buffer.find(b"\r\n")
    if line < 0:
        return None
    at = line + 2
    for _ in range(int(buffer[1:line])):
        if (line := buffer.find(b"\r\n", at)) < 0:
            return None
        at = line + 2 + int(buffer[at + 1 : line]) + 2
    return at if at <= len(buffer) else None


class CuttingProxy:
    """Counts commands of all connections once it is told to; from the cut on, nobody gets through."""

    def __init__(self, target: int) -> None:
        self.port = 0
        self.cut = threading.Event()
        self._target = target
        self._left: int | None = None
        self._swallow = False
        self._at_cut: Callable[[], None] = lambda: None
        self._writers: set[asyncio.StreamWriter] = set()

    def cut_after(self, commands: int, *, swallow: bool, then: Callable[[], None] = lambda: None) -> None:
        """`swallow`: the last command reaches Redis, but its answer nobody. `then` runs at the very moment."""
        self._swallow, self._at_cut = swallow, then
        self._left = commands

    def mend(self) -> None:
        self._left = None
        self.cut.clear()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.cut.is_set():
            writer.close()
            return
        redis_reader, redis_writer = await asyncio.open_connection("127.0.0.1", self._target)
        self._writers |= {writer, redis_writer}
        back = asyncio.create_task(self._back(redis_reader, writer))
        buffer = bytearray()
        with suppress(ConnectionError):
            while not self.cut.is_set() and (data := await reader.read(65536)):
                buffer += data
                await self._forward(buffer, redis_writer)
        back.cancel()
        for end in (writer, redis_writer):
            end.close()
            self._writers.discard(end)

    async def _forward(self, buffer: bytearray, redis_writer: asyncio.StreamWriter) -> None:
        for command in commands_in(buffer):
            last = self._counted()
            if not last or self._swallow:
                redis_writer.write(command)
            if last:
                await redis_writer.drain()
                self._end()
                return
        await redis_writer.drain()

    def _counted(self) -> bool:
        if self._left is None:
            return False
        self._left -= 1
        return self._left <= 0

    def _end(self) -> None:
        self.cut.set()
        self._at_cut()
        self._close_all()

    def _close_all(self) -> None:
        for writer in self._writers:
            writer.close()
        self._writers.clear()

    async def _back(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            while (data := await reader.read(65536)) and not self.cut.is_set():
                writer.write(data)
                await writer.drain()

    async def run(self, ready: threading.Event, leave: asyncio.Event) -> None:
        async with await asyncio.start_server(self.serve, "127.0.0.1", 0) as server:
            self.port = server.sockets[0].getsockname()[1]
            ready.set()
            await leave.wait()
        self._close_all()


@contextmanager
def cutting_proxy(target: int) -> Iterator[CuttingProxy]:
    """Runs in a thread of its own, so that a test may wait for the process that it watches."""
    proxy, ready, leave = CuttingProxy(target), threading.Event(), asyncio.Event()
    loop = asyncio.new_event_loop()

    def run() -> None:
        with asyncio.Runner(loop_factory=lambda: loop) as runner:
            runner.run(proxy.run(ready, leave))

    thread = threading.Thread(target=run)
    thread.start()
    try:
        assert ready.wait(10)
        yield proxy
    finally:
        loop.call_soon_threadsafe(leave.set)
        thread.join()
