# SPDX-License-Identifier: Apache-2.0
"""A Redis that is there and refuses: full, read-only, with another password, or without a word."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest
from ingest_servers import (
    BATCH,
    PREFIX,
    SINGLE,
    Ingest,
    activity,
    all_sent,
    event,
    eventually,
    features,
    ingest,
)
from ingest_totals import history, stored, totals
from redis_servers import RedisServer, free_port, redis_server


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    with redis_server(tmp_path / "redis") as running:
        yield running


@pytest.fixture
def pod(server: RedisServer, tmp_path: Path) -> Iterator[Ingest]:
    with ingest(features(server.url), tmp_path / "pod") as running:
        yield running


def refused(answer: httpx.Response) -> str:
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1"), answer.text
    return str(answer.json()["detail"])


def test_a_full_redis_says_so_and_what_waits_is_applied_once_there_is_room(
    pod: Ingest, server: RedisServer
) -> None:
    """Full in the midst of a load: some of what was taken is still to be applied."""
    sent = history("a", 3000, 1)
    with server.client() as client:
        client.config_set("maxmemory-policy", "noeviction")
        taken = []
        for begin in range(0, 3000, 100):
            if begin == 1500:
                client.config_set("maxmemory", "1mb")
            answer = pod.post("/v1/events", json.dumps(sent[begin : begin + 100]).encode(), BATCH)
            if answer.status_code == 202:
                taken += sent[begin : begin + 100]
            else:
                assert "has no memory left" in refused(answer)
        assert 1000 <= len(taken) <= 1500
        rows = json.dumps({"columns": {"customer_id": ["1"], "segment": ["x"]}}).encode()
        assert "has no memory left" in refused(pod.post("/v1/views/profile/rows", rows))
        assert pod.get("/v1/views")["dead_letters"] == 0
        client.config_set("maxmemory", "0")
        all_sent(pod, sent[1500:])
        assert pod.settled()["dead_letters"] == 0
        assert stored(client) == totals([*taken, *sent[1500:]])


def test_of_a_full_redis_the_ids_that_nobody_needs_are_still_removed(
    server: RedisServer, tmp_path: Path
) -> None:
    views = {"activity": activity(source={"stream": {"lateness": "1m"}})}
    with server.client() as client, ingest(features(server.url, views), tmp_path / "pod") as pod:
        pod.send(event("fresh", customer_id="1"))
        pod.settled()
        (fresh,) = client.scan_iter(f"{PREFIX}:seen:*")
        (field,) = eventually(lambda: client.hkeys(f"{PREFIX}:forgotten"))
        head, minute = fresh.rsplit(b"}", 1)
        past = head + b"}%d" % (int(minute) - 15)
        client.sadd(past, *range(1000))
        client.hset(f"{PREFIX}:forgotten", field, int(minute) - 20)
        client.config_set("maxmemory", "1mb")
        pod.configure(features(server.url, views, maxLagMs=20_000))  # a new revision is cleaned at once
        eventually(lambda: not client.exists(past))
        assert client.exists(fresh)


def test_a_redis_that_takes_no_writes_loses_nothing(pod: Ingest, server: RedisServer) -> None:
    sent = history("a", 2000, 2)
    with server.client() as client:
        all_sent(pod, sent)
        client.replicaof("127.0.0.1", free_port())  # a master that is not there: it keeps what it has
        assert "takes no writes" in refused(pod.send(event("no", customer_id="1")))
        time.sleep(0.5)
        client.replicaof("NO", "ONE")
        all_sent(pod, more := history("b", 100, 3))
        assert pod.settled()["dead_letters"] == 0
        assert stored(client) == totals([*sent, *more])


def test_a_password_that_was_changed_is_read_again(tmp_path: Path) -> None:
    secret = tmp_path / "pod" / "secrets" / "shop-store" / "password"
    secret.parent.mkdir(parents=True)
    secret.write_text("first")
    with redis_server(tmp_path / "redis", requirepass="first", appendonly="yes", appendfsync="no") as server:
        server.connect["password"] = "first"  # noqa: S105 (of a test)
        with ingest(features(server.url, secret="shop-store"), tmp_path / "pod") as pod:  # noqa: S106 (its name)
            all_sent(pod, sent := history("a", 100, 1))
            pod.settled()
            server.options["requirepass"] = server.connect["password"] = "second"  # noqa: S105 (of a test)
            server.restart()
            assert "password" in refused(pod.send(event("no", customer_id="1")))
            secret.write_text("second")
            all_sent(pod, more := history("b", 100, 2))
            pod.settled()
            with server.client() as client:
                assert stored(client) == totals([*sent, *more])


async def test_hundreds_that_wait_for_a_redis_without_a_word_are_told(
    pod: Ingest, server: RedisServer
) -> None:
    """Nobody waits for long, who finds no place is told at once, and memory does not grow with how many ask."""
    pod.send(event("first", customer_id="1")).raise_for_status()
    server.pause()
    body = json.dumps([event(f"b{n}", customer_id="1", padding="x" * 1000) for n in range(3)])
    async with httpx.AsyncClient(timeout=60, limits=httpx.Limits(max_connections=None)) as client:

        async def send() -> httpx.Response:
            return await client.post(f"{pod.url}/v1/events", content=body, headers={"content-type": BATCH})

        begun = time.monotonic()
        assert "does not answer in time" in refused(await send())
        assert time.monotonic() - begun < 20, "ten times what it is to be"
        memory = []
        for _ in range(3):
            for answer in await asyncio.gather(*(send() for _ in range(300))):
                refused(answer)
            memory.append(psutil.Process(pod.process.pid).memory_info().rss)
    assert memory[2] - memory[0] < 30e6, memory
    server.resume()
    eventually(
        lambda: pod.post("/v1/events", json.dumps(event("last", customer_id="2")).encode(), SINGLE).is_success
    )
    pod.settled()
    with server.client() as client:
        assert stored(client)["clicks_1h"]["2"] == 1
        assert stored(client)["clicks_1h"]["1"] in (1, 4), "a batch that got in is whole, and counts once"
