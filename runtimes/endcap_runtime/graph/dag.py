# SPDX-License-Identifier: Apache-2.0
"""Steps as a graph: those that ask a model once a request run beside the rest as soon as what they read is there.

The other steps work on the candidates, so they run one after the other in the order in which they are written.
"""

from __future__ import annotations

from asyncio import Task, gather, get_running_loop
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from endcap_runtime.graph.query import Query, Step


@dataclass(frozen=True, slots=True)
class Node:
    """A step, the steps beside it whose results it reads, and whether it runs beside the candidates' steps."""

    step: Step
    needs: tuple[str, ...]
    beside: bool


Tasks = dict[str, Task[Query]]


async def run(nodes: Sequence[Node], query: Query) -> Query:
    """Runs all nodes, each after what it needs. Raises the first StepFailed, and leaves nothing running."""
    tasks: Tasks = {}
    loop = get_running_loop()
    try:
        for node in nodes:
            if node.beside:
                tasks[node.step.name] = loop.create_task(_after(tasks, node, query))
            else:
                await _finished(tasks, node.needs)
                query = await node.step(query)
    finally:
        _cancel(tasks.values())
    return query


async def _after(tasks: Mapping[str, Task[Query]], node: Node, query: Query) -> Query:
    await _finished(tasks, node.needs)
    return await node.step(query)


async def _finished(tasks: Mapping[str, Task[Query]], names: Iterable[str]) -> None:
    """Waits for all, but no longer than until the first of them fails."""
    waiting = [task for name in names if not (task := tasks[name]).done() or task.exception()]
    if waiting:
        await gather(*waiting)


def _cancel(tasks: Iterable[Task[Query]]) -> None:
    for task in tasks:
        if not task.done():
            task.cancel()
        elif not task.cancelled():
            task.exception()  # seen, so that the loop does not report it as forgotten
