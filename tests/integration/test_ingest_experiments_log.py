# SPDX-License-Identifier: Apache-2.0
"""The log of exposures in Redis: what waits in it, what is trimmed of it, and what a new or an emptied Redis has."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import orjson
import pytest
from experiment_shop import exposing, exposure, measured, now_ms, order, settled_sums, sums_of, unit_key
from ingest_servers import PREFIX, Ingest, event, eventually, features, ingest, start
from model_servers import wait_ready
from redis_servers import RedisServer, redis_server

from endcap_api.features_config import FeaturesConfig
from endcap_runtime.features.ingest.experiments.log import ExposureLog
from endcap_runtime.features.store import FeatureRedis

EXPOSURES = f"{PREFIX}:exposures"
KEPT, SLACK = 10, 2


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    with redis_server(tmp_path / "redis") as running:
        yield running


@pytest.fixture
async def log(server: RedisServer, tmp_path: Path) -> AsyncIterator[ExposureLog]:
    config = FeaturesConfig.model_validate_json(orjson.dumps(features(server.url)))
    redis = await FeatureRedis.open(config.stores["default"], tmp_path)
    yield ExposureLog(redis, PREFIX, KEPT, SLACK)
    await redis.aclose()


@pytest.fixture
def pod(server: RedisServer, tmp_path: Path) -> Iterator[Ingest]:
    with ingest(measured(server.url), tmp_path / "pod", environ=unit_key(tmp_path)) as running:
        yield running


async def test_the_newest_are_kept_and_what_is_not_applied_is_never_trimmed(
    log: ExposureLog, server: RedisServer
) -> None:
    assert await log.accept([b"%d" % n for n in range(40)], 1000)
    first = await log.read("one", b">", 5)
    rest = await log.read("two", b">", 30)
    with server.client() as client:
        await log.settle(rest)
        assert client.xlen(EXPOSURES) == 40, "the first five are not applied"
        await log.settle(first[1:])
        assert client.xlen(EXPOSURES) == 40
        await log.settle(first[:1])
        assert [entry.event for entry in await log.read("one", b">", 100)] == [
            b"%d" % n for n in range(35, 40)
        ]
        assert client.xlen(EXPOSURES) == KEPT
        await log.settle(await log.read("one", b"0", 100))
        assert [row[1][b"e"] for row in client.xrange(EXPOSURES)] == [b"%d" % n for n in range(30, 40)]


async def test_entries_that_nobody_has_read_are_not_trimmed(log: ExposureLog, server: RedisServer) -> None:
    """More wait than are kept: the log grows, and `accept` bounds it."""
    assert await log.accept([b"a"] * 50, 60)
    await log.settle(await log.read("one", b">", 10))
    with server.client() as client:
        assert client.xlen(EXPOSURES) == 40
    assert (await log.waiting(1000)).backlog == 40
    assert not await log.accept([b"b"] * 21, 60)
    assert await log.accept([b"b"] * 20, 60)
    assert (await log.waiting(1000)).backlog == 60


async def test_what_waits_is_counted_where_redis_cannot_say_it(log: ExposureLog, server: RedisServer) -> None:
    """After an entry was deleted by hand Redis knows no lag of the group."""
    await log.accept([b"a"] * 9, 100)
    await log.settle(await log.read("one", b">", 4))
    with server.client() as client:
        client.xdel(EXPOSURES, client.xrange(EXPOSURES)[6][0])
        assert client.xinfo_groups(EXPOSURES)[0]["lag"] is None
    assert (await log.waiting(100)).backlog == 4
    assert not await log.accept([b"b"] * 97, 100)
    assert await log.accept([b"b"] * 96, 100)


async def test_the_first_that_waits_says_how_late_ingest_is(log: ExposureLog) -> None:
    nothing = await log.waiting(10)
    assert (nothing.backlog, nothing.lag_ms(now_ms())) == (0, 0)
    await log.accept([b"a", b"b"], 10)
    fresh = await log.waiting(10)
    assert fresh.backlog == 2
    assert fresh.lag_ms((fresh.first_ms or 0) + 7) == 7
    held = await log.read("one", b">", 1)
    assert (await log.waiting(10)).first_ms == held[0].arrival_ms
    assert (await log.waiting(10)).backlog == 2
    await log.settle(await log.read("one", b">", 1))
    assert (await log.waiting(10)).first_ms == held[0].arrival_ms, "the older one is held, and not applied"


async def test_two_workers_that_hold_a_batch_settle_it_once(log: ExposureLog) -> None:
    await log.accept([b"a", b"b"], 10)
    slow = await log.read("slow", b">", 10)
    quick = await log.claim("quick", 0, 10)
    assert quick == slow
    assert [await log.settle(quick), await log.settle(slow)] == [2, 0]


def test_a_redis_that_is_emptied_counts_anew(server: RedisServer, tmp_path: Path) -> None:
    with ingest(measured(server.url), tmp_path / "pod", environ=unit_key(tmp_path)) as pod:
        exposing(pod, exposure("1"), exposure("2"))
        assert settled_sums(pod)["epochs"]["1"]["treatment"]["units"] == 2
        with server.client() as client:
            client.flushall()
            client.function_flush("SYNC")
        assert sums_of(pod)["epochs"] == {}
        exposing(pod, exposure("1"))
        eventually(lambda: sums_of(pod)["epochs"].get("1", {}).get("treatment", {}).get("units") == 1)


def test_a_pod_that_is_ended_finishes_its_exposures(server: RedisServer, tmp_path: Path) -> None:
    environ = unit_key(tmp_path)
    pod = start(measured(server.url, views={}), tmp_path / "pod", environ=environ)
    wait_ready(pod)
    for part in range(4):
        exposing(pod, *(exposure(f"{part}-{n}", time_ms=now_ms() - 60_000) for n in range(300)))
    assert pod.terminate() == 0
    with server.client() as client:
        assert client.xpending(EXPOSURES, "endcap")["pending"] == 0
    with ingest(measured(server.url, views={}), tmp_path / "next", "next", environ=environ) as following:
        assert settled_sums(following)["epochs"]["1"]["treatment"]["units"] == 1200


def test_two_pods_share_the_work(server: RedisServer, tmp_path: Path) -> None:
    environ, config = unit_key(tmp_path), measured(server.url, views={})
    with (
        ingest(config, tmp_path / "one", "one", environ) as one,
        ingest(config, tmp_path / "two", "two", environ) as two,
    ):
        for part, pod in enumerate((one, two) * 3):
            told = [exposure(f"{part}-{n}", time_ms=now_ms() - 60_000) for n in range(300)]
            exposing(pod, *told, *told[:100])
            pod.send(*(order(f"{part}-{n}", f"{part}-{n}", 1) for n in range(300)))
        found = [settled_sums(pod)["epochs"]["1"]["treatment"] for pod in (one, two)]
        assert found[0] == found[1]
        assert (found[0]["units"], found[0]["metrics"]["revenue"]["y"]) == (1800, 1800)


def test_states_last_for_ninety_days_from_their_last_change(server: RedisServer, tmp_path: Path) -> None:
    """A unit that comes again and again stays the same unit, however long the experiment runs."""
    days = 86_400_000
    with (
        server.client() as client,
        ingest(measured(server.url), tmp_path / "pod", environ=unit_key(tmp_path)) as pod,
    ):
        exposing(pod, exposure("1", time_ms=now_ms() - 60_000))
        pod.send(order("w", "9", 1))
        settled_sums(pod)
        keys = list(client.scan_iter(f"{PREFIX}:exp:*"))
        waiting = {key for key in keys if b":wait{" in key}
        seen = {key for key in keys if b":seen{" in key}
        for key in keys:
            left = client.pttl(key)
            if key in waiting:
                assert 0 < left <= 1_200_000
            elif key in seen:
                assert 7 * days < left < 9 * days
            else:
                assert 89 * days < left <= 90 * days, key
        (state,) = (key for key in keys if key not in waiting | seen and b":sums{" not in key)
        for act in (
            lambda: exposing(pod, exposure("1")),
            lambda: pod.send(order("o", "1", 1)),
        ):
            client.pexpire(state, 1000 * days // 1000)
            act()
            eventually(lambda: client.pttl(state) > 89 * days)


def test_ids_of_minutes_that_nothing_can_fall_into_are_forgotten(pod: Ingest, server: RedisServer) -> None:
    """As those of views: an hour and ten minutes after their minute, while nothing waits."""
    pod.send(order("fresh", "1", 1))
    pod.settled()
    with server.client() as client:
        (fresh, *_) = client.scan_iter(f"{PREFIX}:exp:*:seen*")
        head, minute = fresh.rsplit(b"}", 1)
        past, recent = (head + b"}%d" % (int(minute) - age) for age in (75, 65))
        client.sadd(past, 1)
        client.sadd(recent, 1)
        for field in client.hkeys(f"{PREFIX}:forgotten"):
            client.hset(f"{PREFIX}:forgotten", field, int(minute) - 90)
        pod.configure(measured(server.url, maxLagMs=20_000))  # a new revision is cleaned at once
        eventually(lambda: not client.exists(past))
        assert client.exists(fresh, recent) == 2


def test_what_is_no_exposure_holds_up_none(pod: Ingest, server: RedisServer) -> None:
    """Somebody wrote into the stream: no JSON, no object, one of another time."""
    with server.client() as client:
        for strange in ("{", '"text"', "[1]", "{}", '{"in_analysis": true, "experiment_id": "0123456789ab"}'):
            client.xadd(EXPOSURES, {"e": strange})
        client.xadd(EXPOSURES, {"other": "field"})
    exposing(pod, exposure("1"))
    assert settled_sums(pod)["epochs"]["1"]["treatment"]["units"] == 1
    assert pod.log.count("could not be read") == 6
    log = pod.get("/v1/exposures")["exposures"]
    assert [each.get("experiment") for each in log] == [None, None, "ranker-v2"]
    assert len(pod.get("/v1/exposures", experiment="ranker-v2")["exposures"]) == 1


def test_a_store_without_experiments_has_nothing_of_them(server: RedisServer, tmp_path: Path) -> None:
    """Nobody asks its Redis for exposures, and no key is needed."""
    with (
        server.client() as client,
        ingest(features(server.url), tmp_path / "pod", environ={"ENDCAP_UNIT_KEY_DIR": "/nowhere"}) as pod,
    ):
        assert pod.send(order("o", "1", 1)).status_code == 422
        pod.send(event("e", customer_id="1"))
        pod.settled()
        assert pod.get("/v1/experiments") == {"experiments": {}}
        assert not [key for key in client.scan_iter() if b":exp" in key]


def test_the_user_of_an_embedded_store_may_do_all_of_it(tmp_path: Path) -> None:
    """It may neither configure nor flush, and needs neither."""
    users = tmp_path / "users.acl"
    users.write_text(
        "user default on nopass ~* &* +@all\nuser endcap on >geheim ~* &* +@all -@admin -@dangerous +info\n"
    )
    secret = tmp_path / "pod" / "secrets" / "store"
    secret.mkdir(parents=True)
    (secret / "username").write_text("endcap")
    (secret / "password").write_text("geheim")
    with (
        redis_server(tmp_path / "redis-acl", aclfile=str(users)) as server,
        ingest(measured(server.url, secret="store"), tmp_path / "pod", environ=unit_key(tmp_path)) as pod,  # noqa: S106
    ):
        exposing(pod, exposure("1", time_ms=now_ms() - 60_000))
        pod.send(order("o", "1", 2))
        assert settled_sums(pod)["epochs"]["1"]["treatment"]["metrics"]["revenue"]["y"] == 2
        assert len(pod.get("/v1/exposures")["exposures"]) == 1
