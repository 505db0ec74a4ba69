# SPDX-License-Identifier: Apache-2.0
"""Reads of one store: those that arrive together are one MGET, and a store that hangs is not heaped with more.

When nothing is on its way a read goes at once; otherwise it joins those of the same turn of the event loop, as calls
to models do. At most a few MGETs are on their way: while a store is slow, the rest waits here, and what nobody waits
for any more is never sent.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

from endcap_runtime.features.store import StoreUnavailable

_MOST_UNDER_WAY = 4
_MOST_KEYS = 8192
_STUCK_SECONDS = 0.5

States = list[bytes | None]
Fetch = Callable[[Sequence[bytes]], asyncio.Future[States]]


class _Member(NamedTuple):
    keys: Sequence[bytes]
    future: asyncio.Future[States]


class Reads:
    """The futures of `fetch` raise StoreUnavailable, and so do those that are given out."""

    def __init__(self, fetch: Fetch) -> None:
        self._fetch = fetch
        self._loop = asyncio.get_running_loop()
        self._waiting: list[_Member] = []
        self._under_way: dict[asyncio.Future[States], float] = {}
        self._scheduled = False

    def get(self, keys: Sequence[bytes]) -> asyncio.Future[States]:
        """A future of the states, in the order of the keys. A caller that leaves cancels it, or lets it be."""
        future: asyncio.Future[States] = self._loop.create_future()
        self._waiting.append(_Member(keys, future))
        if not self._under_way:
            self._send()
        elif not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self._send)
        return future

    @property
    def stuck(self) -> bool:
        """Whether the oldest read has been on its way for longer than any healthy store takes."""
        oldest = next(iter(self._under_way.values()), None)
        return oldest is not None and time.monotonic() - oldest > _STUCK_SECONDS

    def _send(self) -> None:
        self._scheduled = False
        while len(self._under_way) < _MOST_UNDER_WAY and (group := self._next_group()):
            fetched = self._fetch(_joined(group))
            self._under_way[fetched] = time.monotonic()
            fetched.add_done_callback(partial(self._landed, group))

    def _next_group(self) -> list[_Member]:
        group: list[_Member] = []
        size = 0
        while self._waiting and (not group or size + len(self._waiting[0].keys) <= _MOST_KEYS):
            member = self._waiting.pop(0)
            if not member.future.done():
                group.append(member)
                size += len(member.keys)
        return group

    def _landed(self, group: list[_Member], fetched: asyncio.Future[States]) -> None:
        del self._under_way[fetched]
        if fetched.cancelled():
            _reject(group, StoreUnavailable("connection", "the store is no longer read from"))
        elif (error := fetched.exception()) is not None:
            _reject(group, error)
        else:
            _resolve(group, fetched.result())
        if self._waiting:
            self._send()


def _joined(group: list[_Member]) -> Sequence[bytes]:
    return group[0].keys if len(group) == 1 else [key for member in group for key in member.keys]


def _resolve(group: list[_Member], states: States) -> None:
    start = 0
    for member in group:
        end = start + len(member.keys)
        if not member.future.done():
            member.future.set_result(states if len(group) == 1 else states[start:end])
        start = end


def _reject(group: list[_Member], error: BaseException) -> None:
    for member in group:
        if not member.future.done():
            member.future.set_exception(error)
