# SPDX-License-Identifier: Apache-2.0
"""A group that forgets whom it gave what: whatever lies in the stream is applied, and once."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest
from ingest_servers import PREFIX, Ingest, all_sent, features, ingest
from ingest_totals import Totals, history, stored, texts, totals
from redis.exceptions import ResponseError
from redis_servers import RedisServer, redis_server

from endcap_api.features_config import FeaturesConfig
from endcap_runtime.features.ingest.streams import Streams
from endcap_runtime.features.store import FeatureRedis

EVENTS, GROUP = f"{PREFIX}:events", "endcap"
FAR = f"{1 << 45}-0"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    with redis_server(tmp_path / "redis", appendonly="yes", appendfsync="no") as running:
        yield running


@pytest.fixture
async def streams(server: RedisServer, tmp_path: Path) -> AsyncIterator[Streams]:
    config = FeaturesConfig.model_validate_json(orjson.dumps(features(server.url)))
    redis = await FeatureRedis.open(config.stores["default"], tmp_path)
    yield Streams(redis, PREFIX)
    await redis.aclose()


def _made_anew(client: Any) -> None:
    client.xgroup_destroy(EVENTS, GROUP)
    client.xgroup_create(EVENTS, GROUP, id="$")


def _moved(client: Any) -> None:
    client.xgroup_setid(EVENTS, GROUP, id="$")


def _moved_far(client: Any) -> None:
    client.xgroup_setid(EVENTS, GROUP, id=FAR)


MISHAPS = [_made_anew, _moved, _moved_far, lambda client: client.xgroup_destroy(EVENTS, GROUP)]


async def test_only_what_nobody_holds_is_taken_up(server: RedisServer, streams: Streams) -> None:
    with server.client() as client:
        ids = [client.xadd(EVENTS, {"e": str(number)}) for number in range(10)]
        assert await streams.take_up("me", 100) == [], "there is no group yet"
        client.xgroup_create(EVENTS, GROUP, id="0")
        client.xreadgroup(GROUP, "other", {EVENTS: ">"}, count=3)
        assert await streams.take_up("me", 100) == [], "what is new comes by itself"
        client.xgroup_setid(EVENTS, GROUP, id=ids[7])
        taken = await streams.take_up("me", 100)
        assert [(entry.id, entry.event) for entry in taken] == [(ids[n], b"%d" % n) for n in range(3, 8)]
        assert await streams.take_up("me", 100) == []
        holders = {
            row["message_id"]: row["consumer"] for row in client.xpending_range(EVENTS, GROUP, "-", "+", 99)
        }
        assert holders == {ids[n]: b"other" if n < 3 else b"me" for n in range(8)}
        assert [entry.id for entry in await streams.read("me", b">", 10)] == ids[8:]


async def test_a_group_beyond_the_end_gives_out_again_what_comes(
    server: RedisServer, streams: Streams
) -> None:
    with server.client() as client:
        client.xadd(EVENTS, {"e": "1"})
        client.xgroup_create(EVENTS, GROUP, id=FAR)
        assert [entry.event for entry in await streams.take_up("me", 100)] == [b"1"]
        client.xadd(EVENTS, {"e": "2"})
        assert [entry.event for entry in await streams.read("me", b">", 10)] == [b"2"]


def test_a_group_that_is_lost_or_moved_under_load_loses_nothing(server: RedisServer, tmp_path: Path) -> None:
    sent = history("a", 4000, 3)
    done = threading.Event()

    def disturb() -> None:
        chance = random.Random(3)  # noqa: S311 the same mishaps each time
        with server.client() as client:
            while not done.wait(0.03):
                with suppress(ResponseError):  # there is no group at this moment: the next mishap follows
                    chance.choice(MISHAPS)(client)

    with (
        ingest(features(server.url), tmp_path / "one", "one") as one,
        ingest(features(server.url), tmp_path / "two", "two") as two,
        server.client() as client,
    ):
        disturber = threading.Thread(target=disturb)
        disturber.start()
        all_sent(one, sent[:2000], 50)
        all_sent(two, sent[2000:], 50)
        done.set()
        disturber.join()
        one.settled()
        assert stored(client) == totals(sent)


@pytest.mark.parametrize("mishap", MISHAPS[:3])
def test_what_waits_while_the_group_moves_is_applied(
    server: RedisServer, tmp_path: Path, mishap: Callable[[Any], None]
) -> None:
    """More than a batch, of which a consumer that is gone held some."""
    sent = history("a", 1500, 4)
    with server.client() as client:
        for text in texts(sent):
            client.xadd(EVENTS, {"e": text})
        client.xgroup_create(EVENTS, GROUP, id="0")
        client.xreadgroup(GROUP, "gone", {EVENTS: ">"}, count=100)
        mishap(client)
        with ingest(features(server.url), tmp_path / "pod") as pod:
            all_sent(pod, fresh := history("b", 100, 5))
            pod.settled()
        assert stored(client) == totals([*sent, *fresh])


def test_of_a_redis_whose_file_lost_its_end_the_rest_is_applied_once(
    server: RedisServer, tmp_path: Path
) -> None:
    """kill -9 under load, twenty times, and as much of the append-only file is gone as a crash may take.

    One producer sends an event at a time, so that what is left has to be a prefix of what was sent.
    """
    chance = random.Random(11)  # noqa: S311 the same moments each time
    sent: list[dict[str, Any]] = []
    lost = 0
    with ingest(features(server.url), tmp_path / "pod") as pod:
        for number in range(20):
            producer = _Producer(pod, history(str(number), 1000, number))
            producer.start()
            producer.reach(chance.randrange(5, 50))
            server.kill()
            producer.join()
            sent += producer.sent
            lost += (taken := chance.randrange(4_000))
            _cut_off(server.folder, taken)
            server.start()
            _answers(pod)
            pod.settled()
            with server.client() as client:
                sent = _prefix(sent, stored(client))
        assert lost > 20_000
        assert len(sent) > 100
        all_sent(pod, again := [*sent, *history("after", 100, 99)])
        pod.settled()
        with server.client() as client:
            assert stored(client) == totals(again)


class _Producer(threading.Thread):
    """Sends one after the other until one is refused; that one may or may not have been taken."""

    def __init__(self, pod: Ingest, events: Sequence[dict[str, Any]]) -> None:
        super().__init__()
        self._pod, self._events = pod, events
        self.sent: list[dict[str, Any]] = []

    def run(self) -> None:
        for given in self._events:
            self.sent.append(given)
            if self._pod.send(given).is_error:
                return

    def reach(self, count: int) -> None:
        until = time.monotonic() + 30
        while len(self.sent) < count:
            assert time.monotonic() < until, self._pod.log[-2000:]
            time.sleep(0.001)


def _cut_off(folder: Path, count: int) -> None:
    (file,) = folder.glob("appendonlydir/*.incr.aof")
    with file.open("r+b") as stream:
        stream.truncate(max(0, file.stat().st_size - count))


def _answers(pod: Ingest) -> None:
    until = time.monotonic() + 30
    while httpx.get(f"{pod.url}/v1/views").status_code != 200:
        assert time.monotonic() < until, pod.log[-2000:]
        time.sleep(0.02)


def _prefix(sent: list[dict[str, Any]], found: Totals) -> list[dict[str, Any]]:
    """The events of which the store is the outcome; there may be none, which is what must not be."""
    for count in range(len(sent), -1, -1):
        if totals(sent[:count]) == found:
            return sent[:count]
    raise AssertionError(_difference(totals(sent), found))


def _difference(wanted: Mapping[str, Any], found: Mapping[str, Any]) -> str:
    return "; ".join(
        f"{name}: {wanted[name]} {found[name]}" for name in wanted if wanted[name] != found[name]
    )
