# SPDX-License-Identifier: Apache-2.0
"""From requests to sums, on real processes: graphs tell real ingest pods on a real Redis, and these may die."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from experiment_shop import EXPERIMENTS, RANKER, measured, settled_sums, unit_key
from graphs import GraphServer, serving
from ingest_servers import Ingest, all_sent, event, ingest, start
from model_servers import wait_ready
from redis_servers import RedisServer, redis_server
from shop_exposures import Tried, TryingShop, everyone_in, experiment

from endcap_api.assignment import bucket

SALT = "basket.rank.ranker-v2"


def variant_of(unit: str) -> str:
    return "treatment" if bucket(SALT, unit) >= 5000 else "control"


@dataclass
class World:
    """A store, its ingest, and graphs that tell it."""

    work: Path
    shop: TryingShop
    redis: RedisServer
    stack: ExitStack
    pod: Ingest
    graphs: list[GraphServer] = field(default_factory=list)

    def graph(self, **changes: Any) -> GraphServer:
        """Another pod of the graph."""
        value = {**experiment(exposures=self.pod.url, id=RANKER), **changes}
        graph = Tried.of(self.shop.ranked(), {"ranker-v2": value})
        work = self.work / f"graph-{len(self.graphs)}"
        self.graphs.append(self.stack.enter_context(serving(graph, work)))
        return self.graphs[-1]

    async def shop_at(self, graph: GraphServer, units: Iterable[str]) -> None:
        async with httpx.AsyncClient(base_url=graph.url, timeout=10) as client:
            for unit in units:
                body = {"customer": unit, "cart": ["Paper plates"], "store": "330"}
                answer = await client.post("/basket", json=body)
                assert answer.status_code == 200, answer.text

    def ingest_again(self) -> None:
        """As the kubelet starts it: another process at the same address."""
        environ = {**unit_key(self.work), "ENDCAP_PORT": str(self.pod.port)}
        port = self.pod.port
        self.pod = start(measured(self.redis.url), self.work / "pod", environ=environ)
        self.pod.port = port
        self.stack.callback(_end, self.pod)
        wait_ready(self.pod)

    async def counted(self, units: int, seconds: float = 30) -> dict[str, Any]:
        """The sums by variant, once so many units are among them and no more come."""
        end = time.monotonic() + seconds
        while _units(found := self.sums()) != units:
            assert time.monotonic() < end, f"{found}; {self.graphs[-1].log[-1500:]} {self.pod.log[-3000:]}"
            await asyncio.sleep(0.05)
        await asyncio.sleep(0.3)
        return self.sums()

    def sums(self) -> dict[str, Any]:
        found: dict[str, Any] = settled_sums(self.pod)["epochs"].get("1", {})
        return found


def _units(sums: dict[str, Any]) -> int:
    return sum(each["units"] for each in sums.values())


def _end(pod: Ingest) -> None:
    if pod.process.poll() is None:
        pod.kill()


@contextmanager
def _world(work: Path, shop: TryingShop) -> Iterator[World]:
    with ExitStack() as stack:
        redis = stack.enter_context(redis_server(work / "redis", appendonly="yes", appendfsync="always"))
        pod = ingest(measured(redis.url), work / "pod", environ=unit_key(work))
        yield World(work, shop, redis, stack, stack.enter_context(pod))


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with TryingShop(tmp_path / "shop") as shop:
        with _world(tmp_path, shop) as world:
            yield world


def names(count: int, first: int = 0) -> list[str]:
    return [f"shopper-{number}" for number in range(first, first + count)]


def split(units: Iterable[str]) -> dict[str, int]:
    """How many units the algorithm gives to each variant."""
    given = [variant_of(unit) for unit in units]
    return {variant: given.count(variant) for variant in ("control", "treatment")}


def units_of(sums: dict[str, Any]) -> dict[str, int]:
    assert all(each["crossed"] == 0 for each in sums.values())
    return {variant: each["units"] for variant, each in sums.items()}


async def test_who_bought_what_after_which_variant(world: World) -> None:
    covariates = {"revenue": "double(size(request.customer))"}
    graph, units = world.graph(covariates=covariates), names(120)
    await world.shop_at(graph, units)
    await world.shop_at(graph, units[:40])
    orders = [event(f"o{n}", "order", customer=unit, buyer=unit, amount=n) for n, unit in enumerate(units)]
    all_sent(world.pod, [*orders, *orders[:30]])
    sums = await world.counted(120)
    assert units_of(sums) == split(units)
    for variant, found in sums.items():
        ours = [(n, unit) for n, unit in enumerate(units) if variant_of(unit) == variant]
        revenue = found["metrics"]["revenue"]
        assert revenue["y"] == pytest.approx(sum(n for n, _ in ours), rel=1e-9)
        assert revenue["x"] == pytest.approx(sum(len(unit) for _, unit in ours), rel=1e-9)
        assert revenue["xy"] == pytest.approx(sum(n * len(unit) for n, unit in ours), rel=1e-9)
        assert found["fallback"] == 0


async def test_an_outcome_right_behind_the_answer_counts(world: World) -> None:
    graph = world.graph()
    for number, unit in enumerate(names(50)):
        await world.shop_at(graph, [unit])
        all_sent(world.pod, [event(f"o{number}", "order", customer=unit, buyer=unit, amount=1)])
    sums = await world.counted(50)
    assert sum(each["metrics"]["revenue"]["y"] for each in sums.values()) == 50


async def test_ingest_that_is_away_for_ten_seconds_costs_nothing(world: World) -> None:
    graph, units = world.graph(), names(600)
    await world.shop_at(graph, units[:100])
    world.pod.kill()
    start_of_absence = time.monotonic()
    for at in range(100, 600, 50):
        await world.shop_at(graph, units[at : at + 50])
        await asyncio.sleep(0.5)
    await asyncio.sleep(max(0.0, 10 - (time.monotonic() - start_of_absence)))
    world.ingest_again()
    assert units_of(await world.counted(600)) == split(units)
    async with httpx.AsyncClient() as client:
        page = (await client.get(f"{graph.url}/metrics")).text
    assert 'endcap_experiment_exposures_total{graph="basket",outcome="sent"} 600.0' in page
    assert 'outcome="dropped"} 0.0' in page


async def test_a_store_that_is_killed_counts_each_unit_once(world: World) -> None:
    graph, units = world.graph(), names(200)
    await world.shop_at(graph, units[:100])
    await world.counted(100)
    world.redis.kill()
    await world.shop_at(graph, units[100:])
    world.redis.restart()
    assert units_of(await world.counted(200)) == split(units)


async def test_what_a_killed_pod_had_not_told_another_tells(world: World) -> None:
    first, units = world.graph(), names(60)
    await world.shop_at(first, units)
    first.process.kill()
    first.process.wait(10)
    second = world.graph()
    await world.shop_at(second, units)
    assert units_of(await world.counted(60)) == split(units), "told by two pods, counted once"


async def test_a_pod_that_is_asked_to_leave_tells_first(world: World) -> None:
    graph, units = world.graph(), names(80)
    await world.shop_at(graph, units)
    assert graph.terminate() == 0
    assert units_of(await world.counted(80)) == split(units)


async def test_a_variant_that_is_down_is_counted_for_its_units_and_as_fallback(world: World) -> None:
    world.shop.challenger.behaviour = "status_500"
    graph, units = world.graph(), names(60)
    await world.shop_at(graph, units)
    sums = await world.counted(60)
    assert units_of(sums) == split(units)
    assert (sums["treatment"]["fallback"], sums["control"]["fallback"]) == (split(units)["treatment"], 0)


async def test_who_is_listed_or_held_out_is_in_the_log_and_in_no_sum(world: World) -> None:
    units = names(40)
    held = [unit for unit in units if bucket("holdout/2026q4", unit) < 2000]
    listed = next(unit for unit in units if unit not in held)
    holdout = {"name": "2026q4", "percent": 20}
    graph = world.graph(holdout=holdout, overrides={listed: "treatment"})
    await world.shop_at(graph, units)
    rest = [unit for unit in units if unit not in (*held, listed)]
    assert units_of(await world.counted(len(rest))) == split(rest)
    log = world.pod.get("/v1/exposures", experiment="ranker-v2", limit=100)["exposures"]
    reasons = [each["reason"] for each in log]
    assert {reason: reasons.count(reason) for reason in set(reasons)} == {
        "listed": 1,
        "held_out": len(held),
        "assigned": len(rest),
    }
    assert not [unit for unit in units if unit in str(log)], "no unit is in the log as it is"


async def test_who_meets_another_variant_on_the_same_day_has_crossed(world: World) -> None:
    units = names(20)
    await world.shop_at(world.graph(), units)
    await world.counted(20)
    await world.shop_at(world.graph(variants=everyone_in("treatment"), epoch=2), units)
    end = time.monotonic() + 20
    while sum(each["crossed"] for each in world.sums().values()) != split(units)["control"]:
        assert time.monotonic() < end, world.sums()
        await asyncio.sleep(0.1)
    assert EXPERIMENTS["ranker-v2"]["id"] == RANKER
