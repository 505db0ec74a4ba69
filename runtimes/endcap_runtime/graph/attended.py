# SPDX-License-Identifier: Apache-2.0
"""Work ends when its client has left: nobody would read the answer, and models would work for nobody."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

from endcap_runtime.asgi import Receive

T = TypeVar("T")

# A request that is done sooner than this pays nothing for being watched.
_WATCH_AFTER_SECONDS = 0.01


class Left(Exception):
    """The client closed the connection before it had its answer."""


async def attended(work: Awaitable[T], receive: Receive) -> T:
    """The result of `work`, which is cancelled when the client leaves. Raises Left."""
    watch = _Watch(receive)
    try:
        return await work
    except asyncio.CancelledError:
        if watch.left and watch.task.uncancel() == 0:
            raise Left from None
        raise
    finally:
        watch.end()


class _Watch:
    """Reads on behind the body, once the work takes longer: all that can come is the end of the connection."""

    def __init__(self, receive: Receive) -> None:
        self.left = False
        self._receive = receive
        self._reading: asyncio.Task[None] | None = None
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 (a coroutine that runs has a task)
        self.task = task
        self._timer = asyncio.get_running_loop().call_later(_WATCH_AFTER_SECONDS, self._begin)

    def _begin(self) -> None:
        self._reading = asyncio.get_running_loop().create_task(self._read())

    async def _read(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self.left = True
        self.task.cancel()

    def end(self) -> None:
        self._timer.cancel()
        if self._reading is not None:
            self._reading.cancel()
