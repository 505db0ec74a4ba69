# SPDX-License-Identifier: Apache-2.0
"""The store on a real Redis: what is written, what is never half written, and what is said when it cannot be asked."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from feature_views import CLICKS, PREFIX, SPEND, a_view, store_config, stream, windowed
from redis_servers import RedisServer, free_port, redis_server

from endcap_runtime.features.layout import Event, Status, Update, View
from endcap_runtime.features.store import FeatureRedis, StoreUnavailable, redis
from endcap_runtime.features.store.library import LIBRARY, library_of

MINUTE, HOUR, DAY = 60_000, 3_600_000, 86_400_000
PRECOMPUTED = {"precomputed": {}}
AGE = {"name": "age", "type": "integer"}


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with redis_server(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture
def server(running: RedisServer) -> RedisServer:
    with running.client() as client:
        client.flushall()
        client.function_flush()
    return running


@pytest.fixture
async def store(server: RedisServer) -> AsyncIterator[FeatureRedis]:
    opened = await FeatureRedis.open(store_config(server.url), Path())
    yield opened
    await opened.aclose()


def click(view: View, name: str, time: int, arrival: int | None = None, **data: Any) -> Update:
    event = Event(name, "shop", "purchase" if data else "click", time, {"customer_id": "1467", **data})
    update = view.updates(event, time if arrival is None else arrival)
    assert update is not None
    return update


async def value(store: FeatureRedis, view: View, now: int, column: int = 0) -> tuple[Any, str]:
    told = view.evaluate(await store.read([view.key(["1467"])]), now)
    return told.values[column][0], Status(told.statuses[column][0]).name


# Rows


async def test_a_newer_row_wins_whatever_the_order(store: FeatureRedis) -> None:
    view, now = a_view(PRECOMPUTED, AGE), await store.now_ms()
    key, ttl = view.key(["1467"]), view.ttl_ms
    rows = [
        (key, view.row({"age": age}, now + at), now + at, ttl) for age, at in ((1, 0), (3, 2), (2, 1), (4, 2))
    ]
    assert await store.put(rows) == [True, True, False, False]
    assert await value(store, view, now) == (3, "PRESENT")


async def test_writers_at_the_same_time_leave_the_newest(store: FeatureRedis) -> None:
    view, now = a_view(PRECOMPUTED, AGE), await store.now_ms()
    rows = [(view.key(["1467"]), view.row({"age": at}, now + at), now + at, view.ttl_ms) for at in range(200)]
    await asyncio.gather(*(store.put([row]) for row in reversed(rows)))
    assert await value(store, view, now) == (199, "PRESENT")


@pytest.mark.parametrize("source", [PRECOMPUTED, stream(), stream("tiles")], ids=["row", "events", "tiles"])
async def test_redis_forgets_by_itself_and_only_after_the_ttl(
    store: FeatureRedis, source: dict[str, Any]
) -> None:
    view, now = a_view(source, AGE if source is PRECOMPUTED else windowed(CLICKS)), await store.now_ms()
    if source is PRECOMPUTED:
        await store.put([(view.key(["1467"]), view.row({"age": 1}, now), now, view.ttl_ms)])
    else:
        await store.apply([click(view, "e1", now)])
    left = await store.client.pttl(view.key(["1467"]))
    assert view.ttl_ms < left <= view.ttl_ms + HOUR


async def test_a_row_that_is_already_too_old_is_not_kept(store: FeatureRedis) -> None:
    view, now = a_view(PRECOMPUTED, AGE), await store.now_ms()
    old = now - 3 * DAY
    assert await store.put([(view.key(["1467"]), view.row({"age": 1}, old), old, view.ttl_ms)]) == [True]
    assert await store.read([view.key(["1467"])]) == [None]


# Events


async def test_nothing_is_asked_where_nothing_is_to_do(store: FeatureRedis) -> None:
    assert (await store.read([]), await store.apply([]), await store.put([])) == ([], [], [])


@pytest.mark.parametrize("storage", ["events", "tiles"])
@pytest.mark.parametrize("foreign", ["a list", "a short text", "a long text"])
async def test_an_event_is_never_half_applied(store: FeatureRedis, storage: str, foreign: str) -> None:
    """What is foreign under our key is left alone, and the event's id is not remembered: it can be sent again."""
    view, now = a_view(stream(storage), windowed(CLICKS)), await store.now_ms()
    update = click(view, "e1", now)
    if foreign == "a list":
        await store.client.rpush(update.state, "foreign")
    else:
        await store.client.set(update.state, "x" * (5 if foreign == "a short text" else 2001))
    with pytest.raises(StoreUnavailable, match=r"(foreign_key|refused).*script: endcap_"):
        await store.apply([update])
    assert await store.client.keys("*seen*") == []
    await store.client.delete(update.state)
    assert await store.apply([update]) == ["APPLIED"]


@pytest.mark.parametrize("storage", ["events", "tiles"])
async def test_an_event_that_many_send_at_once_counts_once(
    server: RedisServer, store: FeatureRedis, storage: str
) -> None:
    view, now = a_view(stream(storage), windowed(CLICKS)), await store.now_ms()
    updates = [click(view, f"e{number}", now - number) for number in range(50)]
    workers = [await FeatureRedis.open(store_config(server.url), Path()) for _ in range(6)]
    told = await asyncio.gather(*(worker.apply([update]) for update in updates for worker in workers))
    assert sorted(outcome for [outcome] in told) == ["APPLIED"] * 50 + ["DUPLICATE"] * 250
    assert await value(store, view, now) == (50, "PRESENT")
    await asyncio.gather(*(worker.aclose() for worker in workers))


@pytest.mark.parametrize("storage", ["events", "tiles"])
async def test_a_state_never_outgrows_what_the_view_says(store: FeatureRedis, storage: str) -> None:
    source = stream(storage, **({"maxEvents": 20} if storage == "events" else {}))
    view, now = a_view(source, windowed(CLICKS, "5m", "1h"), windowed(SPEND, "24h")), await store.now_ms()
    updates = [
        click(view, f"e{number}", now - number * 30_000, now, **({"amount": 1.5} if number % 2 else {}))
        for number in range(100)
    ]
    await store.apply(updates)
    assert await store.client.strlen(view.key(["1467"])) == view.bytes


async def test_ids_of_events_are_kept_as_whole_numbers(store: FeatureRedis) -> None:
    view, now = a_view(stream(), windowed(CLICKS)), await store.now_ms()
    updates = [click(view, f"e{number}", now) for number in range(300)]
    await store.apply(updates)
    assert await store.client.object("encoding", updates[0].seen) == b"intset"
    assert await store.client.scard(updates[0].seen) == 300
    assert 8 * DAY < await store.client.pttl(updates[0].seen) <= 8 * DAY + HOUR


async def test_ids_are_forgotten_by_minute_and_no_sooner(store: FeatureRedis) -> None:
    view, other = a_view(stream(), windowed(CLICKS)), a_view(stream("tiles"), windowed(CLICKS))
    now = await store.now_ms() // MINUTE * MINUTE
    await store.forget_seen([view, other], now - 10 * MINUTE)
    updates = [click(each, "e1", now - age * MINUTE, now) for each in (view, other) for age in range(8)]
    await store.apply(updates)
    await store.forget_seen([view], now - 3 * MINUTE)
    kept = await asyncio.gather(*(store.client.exists(update.seen) for update in updates))
    assert kept == [1, 1, 1, 1, 0, 0, 0, 0, *[1] * 8]
    assert await store.apply(updates[:4]) == ["DUPLICATE"] * 4


async def test_a_store_that_nobody_cleaned_for_a_quarter_is_cleaned_in_passing(
    store: FeatureRedis, server: RedisServer
) -> None:
    """What is older than any bucket lives is not asked for, and what was done is not done again."""
    view = a_view(stream(), windowed(CLICKS))
    now = await store.now_ms() // MINUTE * MINUTE
    await store.forget_seen([view], now - 90 * DAY)
    await store.apply([click(view, "e1", now - MINUTE)])
    with server.client() as client:
        client.config_resetstat()
        await store.forget_seen([view], now)
        assert client.info("commandstats")["cmdstat_unlink"]["calls"] < 30_000
        assert client.keys("*:seen:*") == []
        assert client.hvals(f"{PREFIX}:forgotten") == [b"%d" % (now // MINUTE)]


async def test_a_sum_that_is_no_longer_exact_is_an_error_until_the_window_has_left_it(
    store: FeatureRedis,
) -> None:
    view = a_view(stream("tiles", tiles={"1h": "1m"}), windowed(SPEND, "1h", decimals=0))
    now = await store.now_ms()
    await store.apply([click(view, f"e{number}", now, amount=2**50) for number in range(4)])
    assert await value(store, view, now) == (2.0**52, "PRESENT")
    await store.apply([click(view, "one too many", now, amount=1)])
    assert await value(store, view, now) == (0.0, "ERROR")
    assert await value(store, view, now + HOUR + 2 * MINUTE) == (0.0, "PRESENT")


async def test_a_clock_that_went_back_makes_windows_smaller_and_never_wrong(store: FeatureRedis) -> None:
    """Events of a later hour have pushed out what a window of now would need: the log says so, the ring forgets it."""
    log = a_view(stream(), windowed(CLICKS, "1h"))
    ring = a_view(stream("tiles", tiles={"1h": "1m"}), windowed(CLICKS, "1h"))
    now = await store.now_ms() // HOUR * HOUR + MINUTE // 2
    for view in (log, ring):
        await store.apply([click(view, f"e{age}", now - age * MINUTE, now) for age in range(60)])
        assert await value(store, view, now) == (60, "PRESENT")
        await store.apply([click(view, "later", now + 30 * MINUTE)])
    assert await value(store, log, now) == (30, "TRUNCATED")
    assert await value(store, ring, now) == (32, "PRESENT")
    assert await value(store, ring, now + 30 * MINUTE) == (32, "PRESENT")


# The library


async def test_the_library_is_loaded_when_it_is_missing(store: FeatureRedis) -> None:
    view, now = a_view(stream(), windowed(CLICKS)), await store.now_ms()
    assert await store.apply([click(view, "e1", now)]) == ["APPLIED"]
    await store.client.function_flush()
    assert await store.apply([click(view, "e1", now), click(view, "e2", now)]) == ["DUPLICATE", "APPLIED"]


async def test_two_versions_share_one_redis(server: RedisServer, store: FeatureRedis) -> None:
    other = await FeatureRedis.open(
        store_config(server.url), Path(), library_of(LIBRARY.text + "-- another\n")
    )
    view, now = a_view(stream(), windowed(CLICKS)), await store.now_ms()
    for number, each in enumerate((store, other, store, other)):
        assert await each.apply([click(view, f"e{number}", now)]) == ["APPLIED"]
    loaded = await store.client.execute_command("FUNCTION LIST")
    assert len(loaded) == 2
    assert await value(store, view, now) == (4, "PRESENT")
    await other.aclose()


# The store away


async def refusal(store: FeatureRedis) -> str:
    """The reason that every call gives."""
    view = a_view(stream(), windowed(CLICKS))
    with pytest.raises(StoreUnavailable) as refused:
        await store.apply([click(view, "e1", 1_800_000_000_000)])
    return refused.value.reason


@pytest.mark.parametrize("cluster", [False, True], ids=["single", "cluster"])
async def test_nobody_listens(cluster: bool) -> None:  # noqa: FBT001
    store = await FeatureRedis.open(store_config(f"redis://127.0.0.1:{free_port()}", cluster=cluster), Path())
    view = a_view(stream(), windowed(CLICKS))
    calls = (
        store.now_ms(),
        store.read([b"k"]),
        store.put([(b"k", b"row", 1, 1)]),
        store.forget_seen([view], 0),
    )
    for call in calls:
        with pytest.raises(StoreUnavailable, match="connection"):
            await call
    assert await refusal(store) == "connection"
    await store.aclose()


async def test_a_store_that_is_no_cluster_is_said_to_be_none(server: RedisServer) -> None:
    store = await FeatureRedis.open(store_config(server.url, cluster=True), Path())
    with pytest.raises(StoreUnavailable, match=r"no_cluster: .*set redis.cluster to false"):
        await store.read([b"k"])
    await store.aclose()


async def test_a_store_that_stands_still_is_given_up_and_serves_when_it_goes_on(
    server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redis, "ANSWER_SECONDS", 0.3)
    store = await FeatureRedis.open(store_config(server.url), Path())
    await store.now_ms()
    server.pause()
    try:
        assert await refusal(store) == "timeout"
        with pytest.raises(StoreUnavailable, match="timeout"):
            await store.read([b"k"])
    finally:
        server.resume()
    assert await store.read([b"k"]) == [None]
    await store.aclose()


FAULTS = {
    "readonly": (["REPLICAOF", "127.0.0.1", "1"], ["REPLICAOF", "NO", "ONE"]),
    "out_of_memory": (["CONFIG", "SET", "maxmemory", "1"], ["CONFIG", "SET", "maxmemory", "0"]),
}


@pytest.mark.parametrize("reason", FAULTS)
async def test_a_store_that_takes_no_writes_says_why_and_can_be_read(
    server: RedisServer, store: FeatureRedis, reason: str
) -> None:
    await store.apply([click(a_view(stream(), windowed(CLICKS)), "e0", await store.now_ms())])
    break_it, mend_it = FAULTS[reason]
    with server.client() as client:
        client.execute_command(*break_it)
        try:
            assert await refusal(store) == reason
            assert await store.read([b"k"]) == [None]
        finally:
            client.execute_command(*mend_it)
    assert await store.apply([click(a_view(stream(), windowed(CLICKS)), "e1", await store.now_ms())]) == [
        "APPLIED"
    ]


# Who may


def user(server: RedisServer, password: str, *rights: str) -> None:
    with server.client() as client:
        client.execute_command("ACL", "SETUSER", "endcap", "reset", "on", f">{password}", "~*", *rights)


def secret(folder: Path, **files: str) -> None:
    folder.mkdir(exist_ok=True)
    for name, text in files.items():
        (folder / name).write_text(text)


@pytest.fixture
def guarded(server: RedisServer, tmp_path: Path) -> Iterator[Any]:
    """A user of its own, as the embedded Redis has, and its Secret."""
    user(server, "old", "+@all")
    secret(tmp_path / "store", username="endcap", password="old\n")  # noqa: S106
    yield store_config(server.url, secret="store")  # noqa: S106
    with server.client() as client:
        client.execute_command("ACL", "DELUSER", "endcap")


async def test_a_rotated_password_needs_no_restart(server: RedisServer, guarded: Any, tmp_path: Path) -> None:
    store = await FeatureRedis.open(guarded, tmp_path)
    assert (await store.client.execute_command("ACL WHOAMI")) == "endcap"
    user(server, "new", "+@all")  # ends the connections of a user that is reset
    with server.client() as client:
        client.execute_command("CLIENT KILL", "USER", "endcap")
    assert await refusal(store) == "credentials"
    secret(tmp_path / "store", password="new")  # noqa: S106
    assert await store.read([b"k"]) == [None]
    await store.aclose()


async def test_a_user_who_may_not_is_told_so(server: RedisServer, guarded: Any, tmp_path: Path) -> None:
    user(server, "old", "+@read", "+@connection")
    store = await FeatureRedis.open(guarded, tmp_path)
    assert await refusal(store) == "permission"
    assert await store.read([b"k"]) == [None]
    await store.aclose()


async def test_a_secret_that_is_not_there_yet_is_a_matter_of_credentials(
    server: RedisServer, tmp_path: Path
) -> None:
    with server.client() as client:
        client.execute_command("CONFIG", "SET", "requirepass", "secret")
    store = await FeatureRedis.open(store_config(server.url, secret="store"), tmp_path)  # noqa: S106
    try:
        assert await refusal(store) == "credentials"
        secret(tmp_path / "store", password="secret")  # noqa: S106
        assert await store.read([b"k"]) == [None]
    finally:
        with server.client(password="secret") as client:  # noqa: S106
            client.execute_command("CONFIG", "SET", "requirepass", "")
    await store.aclose()


def test_all_keys_begin_with_the_prefix_of_the_store(server: RedisServer) -> None:
    async def run() -> None:
        store = await FeatureRedis.open(store_config(server.url), Path())
        view, now = a_view(stream(), windowed(CLICKS)), await store.now_ms()
        await store.apply([click(view, "e1", now)])
        await store.forget_seen([view], now)
        await store.aclose()

    asyncio.run(run())
    with server.client() as client:
        keys = client.keys("*")
    assert len(keys) == 3
    assert all(key.startswith(PREFIX.encode() + b":") for key in keys)
