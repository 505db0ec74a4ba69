# SPDX-License-Identifier: Apache-2.0
"""Experiments that change while requests come: nobody is failed, nobody moves who need not, all pods begin together."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from graphs import GraphServer
from model_servers import wait_ready
from tried_servers import begin, due, tried, weighted

from endcap_api.assignment import Ranges, allocate, quotas

PATIENCE = 20.0


@contextmanager
def running(server: GraphServer) -> Iterator[GraphServer]:
    try:
        wait_ready(server)
        yield server
    finally:
        server.process.kill()
        server.process.wait(10)


async def until_served(server: GraphServer, revision: str, experiments: dict[str, int]) -> float:
    """The wall clock's time at which it was first seen."""
    end = time.monotonic() + PATIENCE
    wanted = {"serving": revision, "rejected": None, "experiments": experiments}
    async with httpx.AsyncClient() as client:
        while time.monotonic() < end:
            if (await client.get(f"{server.url}/-/revision")).json() == wanted:
                return time.time()
            await asyncio.sleep(0.02)
    raise AssertionError(server.log[-3000:])


def changes() -> Iterator[dict[str, Any]]:
    """Weights that change seven times, each with the fewest moves."""
    ranges: dict[str, Ranges] | None = None
    for revision, percent in enumerate((50, 60, 34, 90, 10, 50, 0, 33), start=1):
        ranges = allocate(quotas({"control": 100 - percent, "treatment": percent}), ranges)
        config = weighted(5000, revision=revision, epoch=revision)
        for variant in config["variants"]:
            variant["buckets"] = [str(each) for each in ranges[variant["name"]]]
        yield config


async def test_weights_change_under_load_and_every_answer_is_that_of_its_revision(tmp_path: Path) -> None:
    configs = list(changes())
    graphs = [tried(tmp_path, ranker_v2=config) for config in configs]
    by_revision = {graph.config().revision: config for graph, config in zip(graphs, configs, strict=True)}
    answers: list[tuple[str, str, str]] = []
    stop = asyncio.Event()

    async def load(server: GraphServer, first: int) -> None:
        async with httpx.AsyncClient(timeout=10) as client:
            number = first
            while not stop.is_set():
                unit = f"shopper-{number % 500}"
                response = await client.post(f"{server.url}/basket", json={"customer": unit})
                assert response.status_code == 200, response.text
                said = response.json()["experiments"]["ranker-v2"]
                assert said["reason"] == "assigned"
                answers.append((response.headers["endcap-revision"], unit, said["variant"]))
                number += 2

    with running(begin(tmp_path, graphs[0])) as server:
        loads = [asyncio.create_task(load(server, first)) for first in (0, 1)]
        for graph, config in zip(graphs, configs, strict=True):
            server.write(graph.value())
            await until_served(server, graph.config().revision, {"ranker-v2": config["revision"]})
            await asyncio.sleep(0.3)
        stop.set()
        await asyncio.gather(*loads)
        assert server.process.poll() is None
    assert {revision for revision, _, _ in answers} == set(by_revision)
    for revision, unit, variant in answers:
        assert variant == due(by_revision[revision], unit)


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("pair")


@pytest.fixture(scope="module")
def pair(work: Path) -> Iterator[list[GraphServer]]:
    """Two replicas, whose hashes are seeded differently."""
    graph = tried(work, ranker_v2=weighted(5000, revision=1))
    started = [begin(work, graph, {"PYTHONHASHSEED": seed}, f"seed-{seed}") for seed in ("1", "2")]
    with ExitStack() as servers:
        yield [servers.enter_context(running(server)) for server in started]


async def test_replicas_agree_on_every_unit_whatever_seeds_their_hashes(
    pair: list[GraphServer], work: Path
) -> None:
    promoted = weighted(3000, id="07e4", salt="other", everyone="control")
    graph = tried(work, ranker_v2=weighted(5000), other=promoted)
    said: list[list[dict[str, Any]]] = []
    for server in pair:
        server.write(graph.value())
        await until_served(server, graph.config().revision, {"ranker-v2": 3, "other": 3})
        async with httpx.AsyncClient(base_url=server.url) as client:
            asked = [await client.post("/basket", json={"customer": str(unit)}) for unit in range(400)]
            said.append([each.json()["experiments"] for each in asked])
    assert said[0] == said[1]
    assert {each["ranker-v2"]["variant"] for each in said[0]} == {"control", "treatment"}


def edited(work: Path, revision: int, in_seconds: float) -> tuple[dict[str, Any], str]:
    """A graph that begins in a while, and its revision."""
    graph = tried(work, ranker_v2=weighted(1000 * revision, revision=revision))
    value = graph.value() | {"activateAtMs": int((time.time() + in_seconds) * 1000)}
    return value, graph.config().revision


async def test_all_replicas_begin_at_the_moment_that_they_are_told(
    pair: list[GraphServer], work: Path
) -> None:
    value, revision = edited(work, 2, 3.0)
    pair[0].write(value)
    await asyncio.sleep(1.0)  # the kubelets of two nodes are not of one mind
    pair[1].write(value)
    began = await asyncio.gather(*(until_served(server, revision, {"ranker-v2": 2}) for server in pair))
    due_at = value["activateAtMs"] / 1000
    assert all(at >= due_at for at in began)
    assert max(began) - min(began) < 1.0
    assert max(began) - due_at < 2.0


async def test_a_newer_revision_does_not_wait_for_an_older_ones_moment(
    pair: list[GraphServer], work: Path
) -> None:
    server = pair[0]
    later, never = edited(work, 6, 3.0)
    now, revision = edited(work, 7, -60.0)
    server.write(later)
    await asyncio.sleep(1.0)
    server.write(now)
    assert await until_served(server, revision, {"ranker-v2": 7}) < later["activateAtMs"] / 1000
    await asyncio.sleep(3.0)
    assert (await until_served(server, revision, {"ranker-v2": 7})) > later["activateAtMs"] / 1000
    assert never not in server.log


async def test_a_moment_that_is_far_away_is_waited_for_five_seconds_at_most(
    pair: list[GraphServer], work: Path
) -> None:
    value, revision = edited(work, 4, 3600.0)
    start = time.time()
    pair[0].write(value)
    assert await until_served(pair[0], revision, {"ranker-v2": 4}) - start < PATIENCE
