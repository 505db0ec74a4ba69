# SPDX-License-Identifier: Apache-2.0
"""A worker may die at any moment: nothing is lost and nothing is counted twice."""

from __future__ import annotations

import asyncio
import random
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from cutting_proxy import CuttingProxy, cutting_proxy
from ingest_servers import PREFIX, Ingest, all_sent, event, features, ingest, start
from ingest_totals import history, stored, texts, totals
from model_servers import wait_ready
from redis.exceptions import ResponseError
from redis_servers import RedisServer, redis_server

from endcap_runtime.features.ingest import worker as worker_module
from endcap_runtime.features.ingest.compiled import compile_features
from endcap_runtime.features.ingest.metrics import IngestMetrics
from endcap_runtime.features.ingest.serving import Current
from endcap_runtime.features.ingest.worker import Worker
from endcap_runtime.observability.metrics import registry

OLD = "2026-01-01T00:00:00Z"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    with redis_server(tmp_path / "redis") as running:
        yield running


@pytest.fixture
def proxy(server: RedisServer) -> Iterator[CuttingProxy]:
    with cutting_proxy(server.port) as running:
        yield running


async def work(port: int, consumer: str, done: Any, folder: Path) -> None:
    """A worker on the Redis at that port until `done()`; then it dies in the middle of what it does."""
    current = Current(folder / "secrets")
    await current.take(compile_features(orjson.dumps(features(f"redis://127.0.0.1:{port}"))))
    working = asyncio.create_task(Worker(current, IngestMetrics(registry()), consumer).run())
    try:
        async with asyncio.timeout(30):
            while not done():  # noqa: ASYNC110 what it waits for lies in Redis
                await asyncio.sleep(0.002)
    finally:
        while not working.done():  # a cancellation can be lost in the client of Redis
            working.cancel()
            await asyncio.wait([working], timeout=0.05)
        await current.close()


def enqueue(client: Any, events: list[dict[str, Any]]) -> None:
    for text in texts(events):
        client.xadd(f"{PREFIX}:events", {"e": text})


async def test_death_between_any_two_commands(
    server: RedisServer, proxy: CuttingProxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each command of a batch in turn is the last that reaches Redis, once with its answer lost, once not at all."""
    monkeypatch.setattr(worker_module, "IDLE_MS", 1)
    monkeypatch.setattr(worker_module, "CLAIM_SECONDS", 0.01)
    sent: list[dict[str, Any]] = []
    late = deaths = 0
    with server.client() as client:

        def empty() -> bool:
            return bool(client.xlen(f"{PREFIX}:events") == 0)

        for number in range(1, 100):
            for swallow in (True, False):
                run = f"{number}{swallow}"
                sent += (fresh := history(run, 40, number))
                enqueue(client, [*fresh, fresh[0], event(f"late-{run}", at=OLD, customer_id="0")])
                late += 1
                proxy.mend()
                proxy.cut_after(number, swallow=swallow)
                await work(proxy.port, f"dies-{run}", lambda: proxy.cut.is_set() or empty(), tmp_path)
                deaths += proxy.cut.is_set()
                await work(server.port, "lives", empty, tmp_path)
                assert stored(client) == totals(sent), f"after the death at command {number}, {swallow=}"
                assert client.xlen(f"{PREFIX}:dead{{{PREFIX}:events}}") == late
            if not proxy.cut.is_set():
                break
    assert deaths >= 100


@pytest.fixture
def unclaimed(monkeypatch: pytest.MonkeyPatch) -> None:
    """What somebody holds, nobody claims: who held it has to remember it."""
    monkeypatch.setattr(worker_module, "IDLE_MS", 3_600_000)


@pytest.mark.usefixtures("unclaimed")
async def test_a_pod_that_starts_again_does_first_what_it_held(server: RedisServer, tmp_path: Path) -> None:
    with server.client() as client:
        enqueue(client, sent := history("a", 600, 1))
        client.xgroup_create(f"{PREFIX}:events", "endcap", id="0")
        client.xreadgroup("endcap", "same", {f"{PREFIX}:events": ">"}, count=500)
        await work(server.port, "same", lambda: not client.xlen(f"{PREFIX}:events"), tmp_path)
        assert stored(client) == totals(sent)


@pytest.mark.usefixtures("unclaimed")
async def test_a_worker_whose_redis_went_away_goes_on_with_its_batch(
    server: RedisServer, proxy: CuttingProxy, tmp_path: Path
) -> None:
    sent: list[dict[str, Any]] = []
    cuts = 0
    with server.client() as client:

        def done() -> bool:
            nonlocal cuts
            if proxy.cut.is_set():
                cuts += 1
                proxy.mend()
            elif not client.xlen(f"{PREFIX}:events") and cuts < 10:
                enqueue(client, fresh := history(str(len(sent)), 300, cuts))
                sent.extend(fresh)
                proxy.cut_after(150, swallow=cuts % 2 == 0)
            return cuts >= 10 and not client.xlen(f"{PREFIX}:events")

        await work(proxy.port, "same", done, tmp_path)
        assert stored(client) == totals(sent)


def test_a_pod_killed_at_random(server: RedisServer, proxy: CuttingProxy, tmp_path: Path) -> None:
    """The process itself, kill -9, in the midst of its work; the next one finds what it left."""
    chance = random.Random(7)  # noqa: S311 the same moments each time
    sent: list[dict[str, Any]] = []
    kills = 0
    with server.client() as client:
        for number in range(12):
            sent += (fresh := history(str(number), 300, number))
            enqueue(client, [*fresh, *fresh[:20]])
            proxy.mend()
            pod = start(features(f"redis://127.0.0.1:{proxy.port}"), tmp_path / "pod")
            try:
                proxy.cut_after(
                    chance.randrange(1, 700), swallow=chance.random() < 0.5, then=pod.process.kill
                )
                until = time.monotonic() + 30
                while client.xlen(f"{PREFIX}:events") and not proxy.cut.is_set():
                    assert pod.process.poll() is None or proxy.cut.wait(1), pod.log[-3000:]
                    assert time.monotonic() < until, pod.log[-3000:]
                    time.sleep(0.005)
                kills += proxy.cut.is_set()
            finally:
                pod.kill()
        proxy.mend()
        last = start(features(server.url), tmp_path / "pod")
        try:
            wait_ready(last)
            last.settled()
        finally:
            last.kill()
        assert kills >= 6
        assert stored(client) == totals(sent)


def test_a_pod_that_stood_still_changes_nothing_when_it_goes_on(server: RedisServer, tmp_path: Path) -> None:
    """Another has done its batch meanwhile, and has written its letters."""
    sent = history("a", 3000, 1)
    late = [event(f"late-{n}", at=OLD, customer_id="0") for n in range(300)]
    with server.client() as client:
        enqueue(client, [*late, *sent])
        one = start(features(server.url), tmp_path / "one", "one")
        try:
            stop_in_a_batch(one, client)
            with ingest(features(server.url), tmp_path / "two", "two") as two:
                two.settled()
                one.process.send_signal(signal.SIGCONT)
                wait_ready(one)
                more = history("b", 500, 2)
                all_sent(one, more)
                status = two.settled()
                assert stored(client) == totals([*sent, *more])
                assert status["dead_letters"] == 300
        finally:
            one.kill()


def stop_in_a_batch(pod: Ingest, client: Any) -> None:
    until = time.monotonic() + 30
    while True:
        pod.process.send_signal(signal.SIGSTOP)
        if held(client):
            return
        pod.process.send_signal(signal.SIGCONT)
        assert time.monotonic() < until, "it was never seen in a batch"
        time.sleep(0.005)


def held(client: Any) -> int:
    """How many entries consumers hold."""
    try:
        return int(client.xpending(f"{PREFIX}:events", "endcap")["pending"])
    except ResponseError:  # no group yet
        return 0
