# SPDX-License-Identifier: Apache-2.0
"""Lookups whose states arrive together are evaluated together: numpy costs as much for one entity as for a hundred.

Reads that were one MGET wake their lookups in the same turn of the event loop; what they ask of a view is laid end to
end, evaluated once when the turn ends, and taken apart again. Without load that is one lookup and no waiting.
"""

from __future__ import annotations

import asyncio
from typing import NamedTuple

from endcap_runtime.features.layout import Evaluated, View
from endcap_runtime.features.lookup.found import Read

_MOST_ENTITIES = 4096  # beyond which laying end to end no longer pays


class _Member(NamedTuple):
    read: Read
    future: asyncio.Future[Evaluated]


class Evaluations:
    """One a process; views are told apart by what they are, not by name."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._pending: dict[int, tuple[View, list[_Member]]] = {}

    def of(self, view: View, read: Read) -> asyncio.Future[Evaluated]:
        """The view's columns for the states of `read`, at its time or up to a turn of the loop later."""
        if not self._pending:
            self._loop.call_soon(self._evaluate)
        future: asyncio.Future[Evaluated] = self._loop.create_future()
        self._pending.setdefault(id(view), (view, []))[1].append(_Member(read, future))
        return future

    def _evaluate(self) -> None:
        pending, self._pending = self._pending, {}
        for view, members in pending.values():
            for group in _groups(members):
                _resolve(view, group)


def _groups(members: list[_Member]) -> list[list[_Member]]:
    """Members in order, of which each group has so many entities at most."""
    groups: list[list[_Member]] = []
    room = 0
    for member in members:
        room -= len(member.read.states)
        if room < 0:
            groups.append([])
            room = _MOST_ENTITIES - len(member.read.states)
        groups[-1].append(member)
    return groups


def _resolve(view: View, group: list[_Member]) -> None:
    states = group[0].read.states if len(group) == 1 else [s for m in group for s in m.read.states]
    try:
        evaluated = view.evaluate(states, max(member.read.now_ms for member in group))
    except Exception as error:  # noqa: BLE001 (a fault of our own is the callers' to raise)
        for member in group:
            _settle(member, error)
        return
    start = 0
    for member in group:
        end = start + len(member.read.states)
        _settle(member, evaluated if len(group) == 1 else _part(evaluated, start, end))
        start = end


def _settle(member: _Member, result: Evaluated | Exception) -> None:
    if member.future.done():
        return
    if isinstance(result, Exception):
        member.future.set_exception(result)
    else:
        member.future.set_result(result)


def _part(whole: Evaluated, start: int, end: int) -> Evaluated:
    return Evaluated(
        tuple(column[start:end] for column in whole.values),
        whole.statuses[:, start:end],
        whole.windows,
        whole.updated_ms[start:end],
    )
