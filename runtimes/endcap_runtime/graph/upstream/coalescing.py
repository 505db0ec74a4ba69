# SPDX-License-Identifier: Apache-2.0
"""Calls to one model that arrive together go upstream as one.

When nothing is on its way a call goes at once. Otherwise it joins those of the same turn of the event loop, which under
load is as long as a turn takes and without load is nothing: there is no timer to wait for. A call that others share can
be spoiled by one bad row among them, so when the shared call is refused each goes alone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from endcap_runtime.graph.upstream.calls import Call, Prediction
from endcap_runtime.graph.upstream.codec import part_of
from endcap_runtime.graph.upstream.failures import UpstreamFailed
from endcap_runtime.wire.cells import Columns

_MOST_CALLS = 32
_MOST_ROWS = 4096
_OF_ONE = frozenset({"status", "malformed", "too_large"})  # what one member's rows may have caused for all


@dataclass(frozen=True, slots=True, eq=False)
class Member:
    """One caller's rows."""

    columns: Columns
    rows: int
    call: Call


Send = Callable[[Sequence[Member]], Awaitable[Prediction]]


class _Group:
    """Members that go together, and the future on which each of them waits."""

    def __init__(self) -> None:
        self.waiting: dict[Member, asyncio.Future[Prediction]] = {}
        self.rows = 0
        self.task: asyncio.Task[None] | None = None

    def has_room(self, member: Member) -> bool:
        return len(self.waiting) < _MOST_CALLS and self.rows + member.rows <= _MOST_ROWS

    def add(self, member: Member) -> asyncio.Future[Prediction]:
        future = self.waiting[member] = asyncio.get_running_loop().create_future()
        self.rows += member.rows
        return future

    def live(self) -> list[Member]:
        """The members that still wait."""
        return [member for member, future in self.waiting.items() if not future.done()]

    def left(self) -> None:
        """A member waits no more; with the last one the call ends."""
        if self.task is not None and not self.live():
            self.task.cancel()

    def resolve(self, members: Sequence[Member], prediction: Prediction) -> None:
        """To each member its own rows."""
        start = 0
        for member in members:
            end = start + member.rows
            if not self.waiting[member].done():
                own = part_of(prediction.columns, start, end)
                self.waiting[member].set_result(Prediction(own, prediction.model))
            start = end

    def reject(self, members: Sequence[Member], error: Exception) -> None:
        for member in members:
            if not self.waiting[member].done():
                self.waiting[member].set_exception(error)


class Coalescer:
    """Sends members, alone or together."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._under_way = 0
        self._group: _Group | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def call(self, member: Member) -> Prediction:
        """The member's own rows of the answer. Raises UpstreamFailed; cancelled, it leaves the others alone."""
        if not self._under_way:
            return await self._sent([member])
        group = self._joined_group(member)
        future = group.add(member)
        timer = asyncio.get_running_loop().call_at(member.call.deadline, _expire, future)
        try:
            return await future
        finally:
            timer.cancel()
            group.left()

    async def _sent(self, members: Sequence[Member]) -> Prediction:
        self._under_way += 1
        try:
            return await self._send(members)
        finally:
            self._under_way -= 1

    def _joined_group(self, member: Member) -> _Group:
        if self._group is None or not self._group.has_room(member):
            self._group = _Group()
            asyncio.get_running_loop().call_soon(self._start, self._group)
        return self._group

    def _start(self, group: _Group) -> None:
        if self._group is group:
            self._group = None
        if members := group.live():
            group.task = asyncio.create_task(self._run(group, members))
            self._tasks.add(group.task)
            group.task.add_done_callback(self._tasks.discard)

    async def _run(self, group: _Group, members: Sequence[Member]) -> None:
        try:
            group.resolve(members, await self._sent(members))
        except UpstreamFailed as failed:
            if len(members) > 1 and failed.kind in _OF_ONE:
                await asyncio.gather(*(self._run(group, [member]) for member in group.live()))
            else:
                group.reject(members, failed)
        except Exception as error:  # noqa: BLE001 (a fault of our own is the callers' to raise)
            group.reject(members, error)


def _expire(future: asyncio.Future[Prediction]) -> None:
    if not future.done():
        future.set_exception(UpstreamFailed("timeout", "did not answer in time"))
