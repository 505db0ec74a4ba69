# SPDX-License-Identifier: Apache-2.0
"""What a lookup is told equals brute force over the accepted events, by equality, on a real Redis."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator
from pathlib import Path
from random import Random

import pytest
from feature_comparison import WINDOWS_MS, Compared, counts_config, events_config, tiles_config, update_of
from feature_histories import History, history
from feature_views import store_config
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from redis_servers import RedisServer, redis_cluster, redis_server

from endcap_api.features_config import ViewConfig
from endcap_runtime.features.layout import Update, inputs, rings, view
from endcap_runtime.features.store import FeatureRedis
from endcap_runtime.features.store.library import LIBRARY, Library, library_of
from endcap_runtime.features.windows import EventLog, Tier

START = 1_800_000_000_000
DAY = 86_400_000
CONFIGS = {
    "events": events_config(),
    "events-capped": events_config(max_events=5),
    "tiles": tiles_config(),
    "events-64-counts": counts_config("events", 64),
    "tiles-64-counts": counts_config("tiles", 64),
    "tiles-3-counts": counts_config("tiles", 3),
    "tiles-1-count": counts_config("tiles", 1),
}
PROPERTY = settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with redis_server(tmp_path_factory.mktemp("redis")) as running:
        yield running


def asked(
    url: str,
    told: Callable[[FeatureRedis], Awaitable[int]],
    *,
    cluster: bool = False,
    library: Library = LIBRARY,
) -> int:
    """A connection of its own for each example; how many points were equal."""

    async def run() -> int:
        redis = await FeatureRedis.open(store_config(url, cluster=cluster), Path(), library)
        try:
            return await told(redis)
        finally:
            await redis.aclose()

    return asyncio.run(run())


def compared(url: str, config: ViewConfig, random: Random, **options: bool) -> int:
    async def told(redis: FeatureRedis) -> int:
        pair = Compared(redis, config)
        await pair.tell(history(random, START, 40, WINDOWS_MS))
        return pair.points

    return asked(url, told, **options)


@pytest.mark.parametrize("name", CONFIGS)
def test_every_value_equals_brute_force(server: RedisServer, name: str) -> None:
    points = 0

    @PROPERTY
    @given(st.randoms(use_true_random=False))
    def holds(random: Random) -> None:
        nonlocal points
        points += compared(server.url, CONFIGS[name], random)

    holds()
    assert points > 300


def seeded(url: str, config: ViewConfig, *, library: Library = LIBRARY) -> int:
    """The same comparison without hypothesis: the histories of the first seeds."""
    return asked(url, lambda redis: _tell(redis, config, range(40)), library=library)


def spoilt(text: str, replacement: str) -> Library:
    assert LIBRARY.text.count(text) == 1, "the library changed: spoil it elsewhere"
    return library_of(LIBRARY.text.replace(text, replacement))


# What may go wrong in the library, where it shows, and how it is brought about.
LIBRARY_FAULTS = {
    "duplicates count": (("events", "tiles"), "'SADD', seen, id) == 0", "'SADD', seen, id) == 2"),
    "lateness is ignored": (("events", "tiles"), "time < arrival - lateness", "false"),
    "lateness is off by one": (("events", "tiles"), "time < arrival - lateness", "time <= arrival - lateness"),
    "skew is off by one": (("events", "tiles"), "time > arrival + SKEW", "time >= arrival + SKEW"),
    "a slot is not reset": (("tiles",), "string.rep(empty, passed) .. fresh", "fresh"),
    "a tile too many is passed over": (("tiles",), "tile - newest - 1, slots - 1", "tile - newest, slots - 1"),
    "an old event counts in a newer tile": (("tiles",), "if tile > newest - slots then", "if true then"),
    "the last value is the last to arrive": (
        ("tiles",), "b[i] > a[i] or (b[i] == a[i] and b[i + 1] > a[i + 1])", "true",
    ),
    "of equals the last value is the last to arrive": (("tiles",), "b[i + 1] > a[i + 1]", "true"),
    "what was dropped is forgotten": (("events-capped",), "math.max(dropped, newest)", "dropped"),
    "one event too many is dropped": (("events-capped",), "size - most,", "size - most + 1,"),
    "records are out of order": (
        ("events-capped",), "place(records, size, struct.unpack('<i8', record)) * size", "#records",
    ),
}  # fmt: skip


@pytest.mark.parametrize("fault", LIBRARY_FAULTS)
def test_a_fault_in_the_library_is_caught(server: RedisServer, fault: str) -> None:
    names, text, replacement = LIBRARY_FAULTS[fault]
    for name in names:
        with pytest.raises(AssertionError):
            seeded(server.url, CONFIGS[name], library=spoilt(text, replacement))


def _window_starts_too_early(patch: pytest.MonkeyPatch) -> None:
    sound = EventLog._masks
    patch.setattr(EventLog, "_masks", lambda self, events, start, now: sound(self, events, start - 1, now))


def _window_starts_a_tile_late(patch: pytest.MonkeyPatch) -> None:
    sound = Tier.first_ms
    patch.setattr(Tier, "first_ms", lambda self, now: sound(self, now) + self.tile_ms)


def _max_over_nothing_is_0(patch: pytest.MonkeyPatch) -> None:
    patch.setitem(rings._IDENTITY, "max", 0)


def _fractions_are_cut(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(inputs, "scaled", lambda value, decimals: int(value * 10**decimals))


def _clocks_ahead_are_believed(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(view, "min", max, raising=False)


READING_FAULTS = {
    "a window starts too early": ("events", _window_starts_too_early),
    "a window starts a tile late": ("tiles", _window_starts_a_tile_late),
    "max over nothing is 0": ("tiles", _max_over_nothing_is_0),
    "fractions are cut": ("events", _fractions_are_cut),
    "clocks that are ahead are believed": ("events", _clocks_ahead_are_believed),
}


@pytest.mark.parametrize("fault", READING_FAULTS)
def test_a_fault_around_the_library_is_caught(
    server: RedisServer, fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    name, spoil = READING_FAULTS[fault]
    spoil(monkeypatch)
    with pytest.raises(AssertionError):
        seeded(server.url, CONFIGS[name])


@pytest.mark.parametrize("name", ["events", "events-capped", "tiles"])
def test_without_a_fault_the_same_histories_agree(server: RedisServer, name: str) -> None:
    """What makes the tests of faults mean something: it is the fault that they see."""
    assert seeded(server.url, CONFIGS[name]) > 400


@pytest.mark.parametrize("name", ["events-capped", "tiles"])
def test_three_nodes_say_the_same(tmp_path: Path, name: str) -> None:
    with redis_cluster(tmp_path) as cluster:
        told = asked(cluster.url, lambda redis: _tell(redis, CONFIGS[name], range(8)), cluster=True)
    assert told > 100


async def _tell(redis: FeatureRedis, config: ViewConfig, seeds: Iterable[int]) -> int:
    points = 0
    for seed in seeds:
        pair = Compared(redis, config)
        await pair.tell(history(Random(seed), START, 60, WINDOWS_MS))  # noqa: S311 - no secret
        points += pair.points
    return points


RESTARTS = {
    "killed": ({"appendonly": "yes", "appendfsync": "always"}, RedisServer.kill),
    "ended": ({"save": "3600 1"}, RedisServer.stop),
}


@pytest.mark.parametrize("name", ["events-capped", "tiles"])
@pytest.mark.parametrize("how", RESTARTS)
def test_a_restart_loses_and_counts_twice_nothing(tmp_path: Path, name: str, how: str) -> None:
    """The client is the same throughout, and what was sent before is sent again, as a worker would."""
    options, end = RESTARTS[how]

    async def told(redis: FeatureRedis) -> int:
        pair = Compared(redis, CONFIGS[name])
        for seed, start in enumerate(range(START, START + 5 * DAY, DAY)):
            drawn = history(Random(seed), start, 40, WINDOWS_MS)  # noqa: S311 - no secret
            await pair.tell(drawn)
            end(server)
            server.start()
            assert set(await redis.apply(updates_again(pair, drawn))) <= {"DUPLICATE", "LATE", "FUTURE"}
        return pair.points

    with redis_server(tmp_path, **options) as server:
        assert asked(server.url, told) > 50


def updates_again(pair: Compared, drawn: History) -> list[Update]:
    updates = (update_of(pair.view, event) for event in drawn.events)
    return [update for update in updates if update]
