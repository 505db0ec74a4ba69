# SPDX-License-Identifier: Apache-2.0
"""Steps run as soon as what they read is there, a failure ends the run at once, and nothing is left running."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

import pytest

from endcap_runtime.graph.dag import Node, run
from endcap_runtime.graph.failures import StepFailed


@dataclass
class Waits:
    """A step that takes a while, and can fail at its end."""

    name: str
    seconds: float
    log: list[str]
    fails: bool = False

    async def __call__(self, query):
        self.log.append(f"{self.name} begins")
        try:
            await asyncio.sleep(self.seconds)
        except asyncio.CancelledError:
            self.log.append(f"{self.name} is cancelled")
            raise
        if self.fails:
            raise StepFailed(self.name, "refused", "refused")
        self.log.append(f"{self.name} ends")
        return query


@dataclass
class Log:
    lines: list[str] = field(default_factory=list)


def node(
    name: str, seconds: float, log: list[str], *needs: str, beside: bool = True, fails: bool = False
) -> Node:
    return Node(Waits(name, seconds, log, fails), needs, beside)


async def test_each_step_begins_when_what_it_needs_has_ended() -> None:
    log: list[str] = []
    nodes = [
        node("intent", 0.05, log),
        node("together", 0.01, log),
        node("again", 0.01, log, "intent"),
        node("merge", 0.0, log, "together", "again", beside=False),
    ]
    await run(nodes, None)  # type: ignore[arg-type]
    assert log == [
        "intent begins",
        "together begins",
        "together ends",
        "intent ends",
        "again begins",
        "again ends",
        "merge begins",
        "merge ends",
    ]


async def test_the_candidates_steps_do_not_wait_for_what_they_do_not_need() -> None:
    log: list[str] = []
    nodes = [
        node("intent", 0.05, log),
        node("together", 0.0, log),
        node("merge", 0.0, log, "together", beside=False),
        node("top", 0.0, log, "intent", beside=False),
    ]
    await run(nodes, None)  # type: ignore[arg-type]
    assert log.index("merge ends") < log.index("intent ends") < log.index("top begins")


async def test_a_failure_ends_the_run_at_once_and_cancels_the_rest() -> None:
    log: list[str] = []
    nodes = [
        node("slow", 5.0, log),
        node("bad", 0.01, log, fails=True),
        node("merge", 0.0, log, "slow", "bad", beside=False),
    ]
    async with asyncio.timeout(2):
        with pytest.raises(StepFailed, match="bad"):
            await run(nodes, None)  # type: ignore[arg-type]
    await asyncio.sleep(0.01)
    assert "slow is cancelled" in log
    assert "merge begins" not in log


async def test_a_cancelled_run_leaves_nothing_running() -> None:
    log: list[str] = []
    nodes = [node("one", 5.0, log), node("two", 5.0, log), node("merge", 0, log, "one", "two", beside=False)]
    running = asyncio.create_task(run(nodes, None))  # type: ignore[arg-type]
    await asyncio.sleep(0.01)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    await asyncio.sleep(0.01)
    assert {"one is cancelled", "two is cancelled"} <= set(log)
    assert len(asyncio.all_tasks()) == 1
