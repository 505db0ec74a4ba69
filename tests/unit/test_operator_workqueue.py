# SPDX-License-Identifier: Apache-2.0
"""The queue: nothing twice, the urgent first, the broken ever more rarely."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from endcap_operator.keys import Key
from endcap_operator.workqueue import Urgency, WorkQueue


def key(name: str) -> Key:
    return Key("InferenceGraph", "shop", name)


async def drained(queue: WorkQueue) -> list[str]:
    taken = []
    while len(queue):
        taken.append((await queue.take()).name)
        queue.done(key(taken[-1]))
    return taken


async def test_a_key_that_is_added_often_is_taken_once() -> None:
    queue = WorkQueue()
    for _ in range(100):
        queue.add(key("a"))
    assert await drained(queue) == ["a"]


async def test_a_change_comes_before_a_retry_and_that_before_a_resync() -> None:
    queue = WorkQueue()
    queue.add(key("resync"), Urgency.RESYNC)
    queue.add(key("retry"), Urgency.RETRY)
    queue.add(key("change"), Urgency.CHANGE)
    assert await drained(queue) == ["change", "retry", "resync"]


async def test_a_change_of_a_key_that_waits_for_a_resync_is_taken_early() -> None:
    queue = WorkQueue()
    for name in "abc":
        queue.add(key(name), Urgency.RESYNC)
    queue.add(key("c"), Urgency.CHANGE)
    assert await drained(queue) == ["c", "a", "b"]


async def test_a_change_during_the_work_brings_the_key_back_after_it() -> None:
    queue = WorkQueue()
    queue.add(key("a"))
    await queue.take()
    queue.add(key("a"))
    assert len(queue) == 0
    queue.done(key("a"))
    assert await drained(queue) == ["a"]


async def test_a_failing_key_waits_twice_as_long_each_time_and_no_longer_than_told() -> None:
    queue, delays = WorkQueue(), []
    for _ in range(20):
        queue.add(key("a"))
        await queue.take()
        delays.append(queue.retry(key("a"), first=0.005, longest=8.0))
    assert all(0.75 <= delay / min(0.005 * 2**n, 8.0) <= 1.25 for n, delay in enumerate(delays))
    assert len({round(delay / 8.0, 6) for delay in delays[-5:]}) == 5, "no jitter"


async def test_success_forgets_the_failures() -> None:
    queue = WorkQueue()
    for _ in range(10):
        queue.add(key("a"))
        await queue.take()
        queue.retry(key("a"))
    queue.add(key("a"))
    await queue.take()
    queue.done(key("a"))
    queue.add(key("a"))
    await queue.take()
    assert queue.retry(key("a")) < 0.01


async def test_a_change_does_not_wait_for_the_retry() -> None:
    queue = WorkQueue()
    queue.add(key("a"))
    await queue.take()
    queue.retry(key("a"), first=3600.0, longest=3600.0)
    queue.add(key("a"))
    assert await asyncio.wait_for(queue.take(), 1) == key("a")


async def test_another_look_comes_by_itself() -> None:
    queue = WorkQueue()
    queue.add(key("a"))
    await queue.take()
    queue.again(key("a"), 0.01)
    assert len(queue) == 0
    assert await asyncio.wait_for(queue.take(), 1) == key("a")


async def test_a_taker_that_waits_is_woken() -> None:
    queue = WorkQueue()
    taker = asyncio.create_task(queue.take())
    await asyncio.sleep(0)
    queue.add(key("a"))
    assert await asyncio.wait_for(taker, 1) == key("a")


@pytest.mark.parametrize("workers", [1, 3])
@given(st.lists(st.tuples(st.sampled_from("abcd"), st.sampled_from(list(Urgency))), max_size=60))
def test_whatever_is_added_is_worked_on_afterwards_and_never_twice_at_once(
    workers: int, added: list[tuple[str, Urgency]]
) -> None:
    asyncio.run(_check(workers, added))


async def _check(workers: int, added: list[tuple[str, Urgency]]) -> None:
    queue = WorkQueue()
    pending: dict[str, bool] = {}
    busy: set[str] = set()

    async def work() -> None:
        while True:
            taken = await queue.take()
            assert taken.name not in busy
            busy.add(taken.name)
            pending[taken.name] = False
            await asyncio.sleep(0)
            busy.remove(taken.name)
            queue.done(taken)

    tasks = [asyncio.create_task(work()) for _ in range(workers)]
    for name, urgency in added:
        pending[name] = True
        queue.add(key(name), urgency)
        await asyncio.sleep(0)
    for _ in range(200):
        await asyncio.sleep(0)
    assert not any(pending.values())
    for task in tasks:
        task.cancel()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert all(isinstance(result, asyncio.CancelledError) for result in results)
