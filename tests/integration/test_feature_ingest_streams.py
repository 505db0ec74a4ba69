# SPDX-License-Identifier: Apache-2.0
"""What happens whole or not at all in Redis, with two workers at the same entries."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import orjson
import pytest
from ingest_servers import PREFIX, features
from redis_servers import RedisServer, redis_server

from endcap_api.features_config import FeaturesConfig
from endcap_runtime.features.ingest.streams import Letter, Streams
from endcap_runtime.features.store import FeatureRedis, StoreUnavailable


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    with redis_server(tmp_path / "redis") as running:
        yield running


@pytest.fixture
async def streams(server: RedisServer, tmp_path: Path) -> AsyncIterator[Streams]:
    config = FeaturesConfig.model_validate_json(orjson.dumps(features(server.url)))
    redis = await FeatureRedis.open(config.stores["default"], tmp_path)
    yield Streams(redis, PREFIX)
    await redis.aclose()


async def test_a_batch_that_two_workers_hold_is_settled_and_told_once(streams: Streams) -> None:
    """One was paused for so long that the other took its work over; then both go on."""
    assert await streams.accept([b"1", b"2"], 10)
    slow = await streams.read("slow", b">", 10)
    await asyncio.sleep(0.01)
    quick = await streams.claim("quick", 5, 10)
    assert quick == slow
    for entries in (quick, slow):
        letters = [Letter(entry, "late", "why", "activity") for entry in entries]
        settled = await streams.settle(entries, letters, {}, 100)
        assert settled == (2 if entries is quick else 0)
    pulse = await streams.pulse()
    assert (pulse.backlog, pulse.dead_letters) == (0, 2)
    assert await streams.read("quick", b"0", 10) == []


async def test_events_are_accepted_all_or_none(streams: Streams) -> None:
    assert await streams.accept([b"1", b"2"], 3)
    assert not await streams.accept([b"3", b"4"], 3)
    assert await streams.accept([b"5"], 3)
    assert [entry.event for entry in await streams.read("a", b">", 10)] == [b"1", b"2", b"5"]


async def test_of_many_at_once_no_more_are_accepted_than_may_wait(streams: Streams) -> None:
    taken = await asyncio.gather(*(streams.accept([b"x"] * 10, 55) for _ in range(20)))
    assert sum(taken) == 5
    assert (await streams.pulse()).backlog == 50


async def test_two_replays_of_a_letter_send_it_round_once(streams: Streams) -> None:
    await streams.accept([b"1"], 10)
    entries = await streams.read("a", b">", 10)
    await streams.settle(entries, [Letter(entries[0], "late", "why", "activity")], {}, 100)
    ((letter, _),) = await streams.page(streams.dead, None, 10)
    assert sorted(await asyncio.gather(*(streams.replay([letter], 10) for _ in range(4)))) == [0, 0, 0, 1]  # type: ignore[type-var]
    (again,) = await streams.read("a", b">", 10)
    assert (again.event, again.view) == (b"1", "activity")


async def test_a_replay_keeps_within_what_may_wait(streams: Streams) -> None:
    await streams.accept([b"1", b"2"], 10)
    entries = await streams.read("a", b">", 10)
    await streams.settle(entries, [Letter(entry, "late", "why", "v") for entry in entries], {}, 100)
    ids = [entry_id for entry_id, _ in await streams.page(streams.dead, None, 10)]
    assert await streams.replay(ids, 1) is None
    assert (await streams.pulse()).dead_letters == 2


async def test_counts_add_up_and_remember_the_newest(streams: Streams) -> None:
    await streams.counts.add({"v@1": {}})
    since = (await streams.counts.all())["v@1"]["since_ms"]
    await asyncio.gather(*(streams.counts.add({"v@1": {"applied": 2, "updated_ms": n}}) for n in (5, 9, 7)))
    assert await streams.counts.all() == {"v@1": {"since_ms": since, "updated_ms": 9, "applied": 6}}


async def test_a_layout_that_is_fed_again_begins_anew(streams: Streams) -> None:
    """A view is changed and changed back: what came in between is missing in its old states, so it is not warm."""
    await streams.counts.add({"v@1": {"applied": 3}, "vv@1": {}, "rows@1": {"rows": 2}})
    before = await streams.counts.all()
    await asyncio.sleep(0.01)
    await streams.counts.add({"v@2": {"applied": 1}, "rows@2": {}})
    assert (await streams.counts.all()).keys() == {"v@2", "vv@1", "rows@1", "rows@2"}
    await asyncio.sleep(0.01)
    await streams.counts.add({"v@1": {"applied": 1}})
    after = await streams.counts.all()
    assert after["v@1"]["since_ms"] >= before["v@1"]["since_ms"] + 20
    assert after["v@1"]["applied"] == 1
    assert after["vv@1"] == before["vv@1"]


async def test_consumers_that_hold_nothing_are_forgotten_and_others_are_not(streams: Streams) -> None:
    await streams.prune(0)  # before there is a group
    await streams.accept([b"1"], 10)
    await streams.read("holds", b">", 10)
    await streams.read("empty", b">", 10)
    await asyncio.sleep(0.01)
    await streams.prune(5)
    client = streams._redis.client
    assert [row["name"] for row in await client.xinfo_consumers(streams.events, "endcap")] == [b"holds"]


async def test_a_full_redis_takes_nothing(streams: Streams, server: RedisServer) -> None:
    with server.client() as client:
        client.config_set("maxmemory", "1")
        with pytest.raises(StoreUnavailable, match="out_of_memory"):
            await streams.accept([b"1"], 10)
        client.config_set("maxmemory", "0")
    assert (await streams.pulse()).backlog == 0
