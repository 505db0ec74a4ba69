# SPDX-License-Identifier: Apache-2.0
"""Work ends when its client has left: nobody would read the answer, and models would work for nobody."""

from __future__ import annotations

import asyncio
from time import monotonic
from types import TracebackType
from typing import Self

from endcap_runtime.asgi import Receive

# A request that is done sooner than this pays nothing for being watched.
_LOOK_SECONDS = 0.03
# Longest time for a body to arrive.
BODY_SECONDS = 10.0


class Left(Exception):
    """The client closed the connection before it had its answer."""


class TooSlow(Exception):
    """The body did not arrive in time."""


class Attendance:
    """Watches one request: first that its body arrives, then that its client stays.

    One timer serves for both, so that a quick request pays for no more than that. As a context manager it turns the
    cancellation that it asked for into Left or TooSlow.
    """

    __slots__ = ("_fault", "_reader", "_receive", "_task", "_timer", "_until", "_working")

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._fault: Exception | None = None
        self._reader: asyncio.Task[None] | None = None
        self._working = False

    def __enter__(self) -> Self:
        self._task = asyncio.current_task()
        self._until = monotonic() + BODY_SECONDS
        self._timer = asyncio.get_running_loop().call_later(_LOOK_SECONDS, self._look)
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self._timer.cancel()
        if self._reader is not None:
            self._reader.cancel()
        if self._fault is not None and isinstance(error, asyncio.CancelledError):
            raise self._fault from None

    def working(self) -> None:
        """The body is there: all that can still come is the end of the connection."""
        self._working = True

    def _look(self) -> None:
        loop = asyncio.get_running_loop()
        if self._working:
            self._reader = loop.create_task(self._read_on())
        elif monotonic() >= self._until:
            self._end(TooSlow())
        else:
            self._timer = loop.call_later(_LOOK_SECONDS, self._look)

    async def _read_on(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self._end(Left())

    def _end(self, fault: Exception) -> None:
        self._fault = fault
        if self._task is not None:
            self._task.cancel()
