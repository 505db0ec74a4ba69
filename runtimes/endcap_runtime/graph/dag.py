# SPDX-License-Identifier: Apache-2.0
"""Steps as a graph: those that ask a model once a request run beside the rest as soon as what they read is there.

The other steps work on the candidates, so they run one after the other in the order in which they are written.
"""

from __future__ import annotations

from asyncio import FIRST_EXCEPTION, Task, get_running_loop, wait
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from endcap_runtime.graph.query import Query, Step


@dataclass(frozen=True, slots=True)
class Node:
    """A step and its place.

    needs: steps beside it whose results it reads. beside: whether it runs beside the candidates' steps. strict:
    whether its failure ends the run, rather than being noted.
    """

    step: Step
    needs: tuple[str, ...]
    beside: bool
    strict: bool = True


@dataclass(frozen=True, slots=True)
class _Running:
    """The steps that run beside the rest."""

    tasks: dict[str, Task[Query]]
    strict: dict[str, Task[Query]]

    async def finished(self, names: Iterable[str]) -> None:
        """Waits for all of them, but no longer than until a strict step fails."""
        if not self.strict:
            for name in names:
                await self.tasks[name]
        elif names:
            await self._first_failure([self.tasks[name] for name in names])

    async def _first_failure(self, tasks: Sequence[Task[Query]]) -> None:
        await wait(tasks, return_when=FIRST_EXCEPTION)
        for task in tasks:
            if task.done():
                task.result()

    def end(self) -> None:
        for task in self.tasks.values():
            if not task.done():
                task.cancel()
            elif not task.cancelled():
                task.exception()  # seen, so that the loop does not report it as forgotten


async def run(nodes: Sequence[Node], query: Query) -> Query:
    """Runs all nodes, each after what it needs. Raises the first StepFailed, and leaves nothing running."""
    running = _Running({}, {})
    loop = get_running_loop()
    try:
        for node in nodes:
            if node.beside:
                task = loop.create_task(_after(running, node, query))
                running.tasks[node.step.name] = task
                if node.strict:
                    running.strict[node.step.name] = task
            else:
                await running.finished(node.needs)
                query = await node.step(query)
    finally:
        running.end()
    return query


async def _after(running: _Running, node: Node, query: Query) -> Query:
    await running.finished(node.needs)
    return await node.step(query)
