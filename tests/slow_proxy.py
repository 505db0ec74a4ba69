# SPDX-License-Identifier: Apache-2.0
"""A proxy in front of a server that delays what it answers, swallows it, or lets nobody in.

with slow_proxy(redis.port) as proxy:
    proxy.delay = 0.05        # seconds, each way back
    proxy.black_hole = True   # connections stay open, nothing comes back; new ones are taken, too
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress


class SlowProxy:
    """`accepted` counts connections: a herd would be seen there."""

    def __init__(self, target: int) -> None:
        self.port = 0
        self.delay = 0.0
        self.black_hole = False
        self.accepted = 0
        self._target = target

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        try:
            there, back = await asyncio.open_connection("127.0.0.1", self._target)
        except ConnectionError:
            writer.close()
            return
        await asyncio.wait(
            [
                asyncio.create_task(self._forward(reader, back)),
                asyncio.create_task(self._back(there, writer)),
            ],
            return_when=asyncio.FIRST_COMPLETED,
        )
        writer.close()
        back.close()

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            while data := await reader.read(1 << 20):
                if not self.black_hole:
                    writer.write(data)

    async def _back(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        loop = asyncio.get_running_loop()
        with suppress(ConnectionError):
            while data := await reader.read(1 << 20):
                if not self.black_hole:
                    loop.call_later(self.delay, writer.write, data)


@contextmanager
def slow_proxy(target: int) -> Iterator[SlowProxy]:
    """Runs in a thread of its own, so that a test may wait for the process that it watches."""
    proxy = SlowProxy(target)
    loop = asyncio.SelectorEventLoop()
    server = loop.run_until_complete(asyncio.start_server(proxy.serve, "127.0.0.1", 0))
    proxy.port = server.sockets[0].getsockname()[1]
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield proxy
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        server.close()
        tasks = asyncio.all_tasks(loop)
        for task in tasks:
            task.cancel()
        if tasks:
            loop.run_until_complete(asyncio.wait(tasks))
        loop.close()
