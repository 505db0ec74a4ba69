# SPDX-License-Identifier: Apache-2.0
"""Workers of exposures and outcomes may die at any moment: no unit and no outcome is lost or counted twice."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest
from cutting_proxy import CuttingProxy, cutting_proxy
from experiment_oracle import Came, assert_same, sums
from experiment_shop import (
    BANNER,
    EXPERIMENTS,
    UNIT_KEY,
    cart,
    exposure,
    measured,
    order,
    settled_sums,
    unit_key,
)
from ingest_servers import PREFIX, ingest, start
from redis_servers import RedisServer, redis_server

from endcap_api.experiment_config import MeasuredConfig
from endcap_runtime.features.experiments.exposures import kept
from endcap_runtime.features.experiments.measured import compile_measured
from endcap_runtime.features.experiments.sums import epochs_of
from endcap_runtime.features.ingest import worker as worker_module
from endcap_runtime.features.ingest.compiled import compile_features
from endcap_runtime.features.ingest.experiments.worker import ExposureWorker
from endcap_runtime.features.ingest.metrics import IngestMetrics
from endcap_runtime.features.ingest.serving import Current
from endcap_runtime.features.ingest.worker import Worker
from endcap_runtime.observability.metrics import registry

EVENTS, EXPOSURES = f"{PREFIX}:events", f"{PREFIX}:exposures"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    with redis_server(tmp_path / "redis") as running:
        yield running


@pytest.fixture
def proxy(server: RedisServer) -> Iterator[CuttingProxy]:
    with cutting_proxy(server.port) as running:
        yield running


class Sent:
    """What was sent, as the oracle wants it. Each unit is exposed in one way first, whoever applies it."""

    def __init__(self) -> None:
        self.exposures: list[Came] = []
        self.events: list[Came] = []

    def make(self, run: str, units: int, seed: int) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        """Exposures, of which some come again and some cross, and events, of which some come twice or before."""
        chance = random.Random(seed)  # noqa: S311 the same history each time
        ago = (datetime.now(UTC) - timedelta(seconds=5)).isoformat(timespec="milliseconds")
        fresh, again, events = [], [], []
        for number in range(units):
            unit, variant = f"{run}-{number}", chance.choice(("control", "treatment"))
            told = exposure(unit, variant, time_ms=int(time.time() * 1000) - 60_000)
            told |= {"covariates": {"revenue": float(number)}, "served": chance.choice((variant, "control"))}
            fresh.append(told)
            if chance.random() < 0.3:
                again.append({**told, "variant": chance.choice(("control", "treatment"))})
            fresh.append({**told, "experiment": "banner", "experiment_id": BANNER, "covariates": {}})
            fresh[-1] |= {"variant": "red", "served": "red"}
            events += [
                cart(f"c-{unit}", unit, ago),
                order(f"o-{unit}", unit, chance.randrange(9000) / 100, ago),
            ]
        return [*fresh, *again], [*events, *chance.sample(events, units // 2)]

    def enqueue(self, client: Any, run: str, units: int, seed: int) -> None:
        exposures, events = self.make(run, units, seed)
        for event in events[: len(events) // 2]:
            self._event(client, event)
        for each in exposures:
            text = orjson.dumps(kept(each, UNIT_KEY.encode()))
            self.exposures.append(Came(_arrival(client.xadd(EXPOSURES, {"e": text})), each))
        for event in events[len(events) // 2 :]:
            self._event(client, event)

    def _event(self, client: Any, event: dict[str, Any]) -> None:
        self.events.append(Came(_arrival(client.xadd(EVENTS, {"e": orjson.dumps(event)})), event))

    def wanted(self, name: str) -> dict[str, Any]:
        return sums(EXPERIMENTS[name], self.exposures, self.events)


def _arrival(entry_id: bytes) -> int:
    return int(entry_id.split(b"-")[0])


def stored(client: Any, name: str) -> dict[str, Any]:
    """The sums as they lie in Redis, read by a plain client."""
    compiled = compile_measured(name, MeasuredConfig.model_validate(EXPERIMENTS[name]), PREFIX)
    found = epochs_of(compiled, [client.hgetall(key) for key in compiled.sums_keys])
    return {epoch: {v: each.dump() for v, each in variants.items()} for epoch, variants in found.items()}


def assert_counted(client: Any, sent: Sent) -> None:
    for name in EXPERIMENTS:
        assert_same(stored(client, name), sent.wanted(name))


def idle(client: Any) -> bool:
    """Nothing waits and nobody holds anything."""
    if client.xlen(EVENTS):
        return False
    (group,) = client.xinfo_groups(EXPOSURES) or [{"pending": 1, "lag": 1}]
    return bool(group["pending"] == 0 and group["lag"] == 0)


async def work(port: int, consumer: str, done: Callable[[], bool], folder: Path) -> None:
    """Both workers on the Redis at that port until `done()`; then they die in the middle of what they do."""
    unit_key(folder)
    current = Current(folder / "secrets", folder / "unit-key")
    await current.take(compile_features(orjson.dumps(measured(f"redis://127.0.0.1:{port}", views={}))))
    metrics = IngestMetrics(registry())
    working = [
        asyncio.create_task(kind(current, metrics, consumer).run()) for kind in (Worker, ExposureWorker)
    ]
    try:
        async with asyncio.timeout(30):
            while not done():  # noqa: ASYNC110 what it waits for lies in Redis
                await asyncio.sleep(0.002)
    finally:
        while not all(task.done() for task in working):  # a cancellation can be lost in the client of Redis
            for task in working:
                task.cancel()
            await asyncio.wait(working, timeout=0.05)
        await current.close()


@pytest.mark.parametrize("swallow", [True, False])
async def test_death_between_any_two_commands(
    server: RedisServer,
    proxy: CuttingProxy,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    *,
    swallow: bool,
) -> None:
    """Each command in turn is the last that reaches Redis, once with its answer lost, once not at all."""
    monkeypatch.setattr(worker_module, "IDLE_MS", 1)
    monkeypatch.setattr(worker_module, "CLAIM_SECONDS", 0.01)
    sent, deaths = Sent(), 0
    with server.client() as client:
        client.xgroup_create(EXPOSURES, "endcap", id="0", mkstream=True)
        for number in range(1, 120):
            sent.enqueue(client, f"{number}", 5, number)
            proxy.mend()
            proxy.cut_after(number, swallow=swallow)
            await work(proxy.port, f"dies-{number}", lambda: proxy.cut.is_set() or idle(client), tmp_path)
            deaths += proxy.cut.is_set()
            await work(server.port, "lives", lambda: idle(client), tmp_path)
            assert_counted(client, sent)
            if not proxy.cut.is_set():
                break
    assert deaths >= 30


def test_pods_killed_at_random(server: RedisServer, proxy: CuttingProxy, tmp_path: Path) -> None:
    """The process itself, kill -9, in the midst of its work; the next one finds what it left."""
    chance = random.Random(11)  # noqa: S311 the same moments each time
    sent, kills = Sent(), 0
    environ = unit_key(tmp_path)
    with server.client() as client:
        client.xgroup_create(EXPOSURES, "endcap", id="0", mkstream=True)
        for number in range(7):
            sent.enqueue(client, f"{number}", 60, number)
            proxy.mend()
            pod = start(
                measured(f"redis://127.0.0.1:{proxy.port}", views={}), tmp_path / "pod", environ=environ
            )
            try:
                proxy.cut_after(
                    chance.randrange(1, 400), swallow=chance.random() < 0.5, then=pod.process.kill
                )
                until = time.monotonic() + 30
                while not idle(client) and not proxy.cut.is_set():
                    assert pod.process.poll() is None or proxy.cut.wait(1), pod.log[-3000:]
                    assert time.monotonic() < until, pod.log[-3000:]
                    time.sleep(0.005)
                kills += proxy.cut.is_set()
            finally:
                pod.kill()
        with ingest(measured(server.url, views={}), tmp_path / "pod", environ=environ) as last:
            for experiment in EXPERIMENTS.values():
                settled_sums(last, experiment["id"])
        assert kills >= 4
        assert_counted(client, sent)


def test_the_log_applied_once_more_changes_nothing(server: RedisServer, tmp_path: Path) -> None:
    """A group that is set back to the beginning gives out all exposures again; also while outcomes come."""
    sent = Sent()
    with (
        server.client() as client,
        ingest(measured(server.url, views={}), tmp_path / "pod", environ=unit_key(tmp_path)) as pod,
    ):
        sent.enqueue(client, "a", 80, 1)
        settled_sums(pod)
        client.xgroup_setid(EXPOSURES, "endcap", 0)
        sent.enqueue(client, "b", 80, 2)
        settled_sums(pod)
        client.xgroup_destroy(EXPOSURES, "endcap")
        sent.enqueue(client, "c", 10, 3)
        time.sleep(1)
        settled_sums(pod)
        assert_counted(client, sent)
        assert len(pod.get("/v1/exposures", limit=1000)["exposures"]) == len(sent.exposures)


def test_a_redis_that_is_killed_and_comes_back_has_counted_once(tmp_path: Path) -> None:
    """appendfsync always: what it has answered is on its disk. Producers send again what was not answered."""
    with (
        redis_server(tmp_path / "redis", appendonly="yes", appendfsync="always") as server,
        ingest(measured(server.url, views={}), tmp_path / "pod", environ=unit_key(tmp_path)) as pod,
    ):
        sent = Sent()
        for number in range(4):
            exposures, events = sent.make(f"{number}", 40, number)
            exposing_until_taken(pod, exposures)
            sent.exposures += [Came(int(time.time() * 1000), each) for each in exposures]
            sent.events += [Came(int(time.time() * 1000), each) for each in events]
            for begin in range(0, len(events), 20):
                body = json.dumps(events[begin : begin + 20]).encode()
                if begin == 40:
                    server.kill()
                    assert (
                        pod.post("/v1/events", body, "application/cloudevents-batch+json").status_code == 503
                    )
                    assert pod.post("/v1/exposures", b'{"exposures": []}').status_code == 202
                    server.start()
                until_taken(
                    lambda body=body: pod.post("/v1/events", body, "application/cloudevents-batch+json")
                )
        for name, experiment in EXPERIMENTS.items():
            assert_same(settled_sums(pod, experiment["id"])["epochs"], sent.wanted(name))


def exposing_until_taken(pod: Any, exposures: list[dict[str, Any]]) -> None:
    body = json.dumps({"exposures": exposures}).encode()
    until_taken(lambda: pod.post("/v1/exposures", body))


def until_taken(send: Callable[[], Any]) -> None:
    until = time.monotonic() + 30
    while (answer := send()).status_code != 202:
        assert answer.status_code in (429, 503), answer.text
        assert answer.headers["retry-after"]
        assert time.monotonic() < until
        time.sleep(0.05)
