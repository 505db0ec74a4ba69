# SPDX-License-Identifier: Apache-2.0
"""The pieces of a lookup that need no Redis: the clock, what is remembered, how reads go together, what is compiled."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Sequence
from typing import Any

import hiredis
import pytest
from feature_sidecars import BUNDLES, VIEWS, config_of, parsed
from hypothesis import given
from hypothesis import strategies as st

from endcap_runtime.features.layout import Status
from endcap_runtime.features.lookup import InvalidFeatures, InvalidKeys, compile_features
from endcap_runtime.features.lookup.clock import RedisClock
from endcap_runtime.features.lookup.evaluations import Evaluations
from endcap_runtime.features.lookup.found import Read
from endcap_runtime.features.lookup.memory import INVALID, Memory
from endcap_runtime.features.lookup.mget import Packing
from endcap_runtime.features.lookup.near import FRESH_SECONDS, Asked, NearCache
from endcap_runtime.features.lookup.reads import Reads

CONFIG = config_of("redis://nowhere:1")


def sample(clock: RedisClock, ahead_ms: float, there: float, back: float) -> None:
    """Redis' clock is `ahead_ms` of ours; the question took `there` ms, its answer `back` ms."""
    asked = time.monotonic()
    redis = asked * 1000 + there + ahead_ms
    clock.seen(int(redis), asked, asked + (there + back) / 1000)


@given(
    st.integers(10**12, 2 * 10**12),
    st.lists(st.tuples(st.floats(0, 50), st.floats(0, 50)), min_size=1, max_size=20),
)
def test_the_clock_is_never_behind_and_ahead_by_no_more_than_the_quickest_way_there(ahead, ways):
    clock = RedisClock()
    for there, back in ways:
        sample(clock, ahead, there, back)
    before = time.monotonic() * 1000 + ahead
    now = clock.now_ms()
    after = time.monotonic() * 1000 + ahead
    assert now >= int(before)
    assert now <= after + min(there for there, _ in ways[-10:]) + 1.001


def test_a_clock_that_was_set_is_followed_at_once():
    clock = RedisClock()
    for _ in range(10):
        sample(clock, 10**12, 0.1, 0.1)
    for ahead in (10**12 + 5000, 10**12 - 5000):
        sample(clock, ahead, 0.1, 0.1)
        assert clock.now_ms() == pytest.approx(time.monotonic() * 1000 + ahead, abs=50)


def test_memory_stays_within_its_bytes_and_lets_the_oldest_go():
    memory = Memory(10_000)
    for number in range(100):
        memory.put([b"%d" % number], [b"x" * 100], float(number), 1)
        assert memory.size <= 10_000
    held = [entry is not None for entry in memory.find([b"%d" % number for number in range(100)])]
    assert held == [False] * held.index(True) + [True] * (100 - held.index(True))
    assert sum(held) > 10


def test_a_key_that_is_put_twice_at_once_is_counted_once():
    """Two bundles of a view are looked up for one customer; what memory believes to hold may not drift."""
    memory = Memory(10_000)
    for number in range(100):
        memory.put([b"%d" % number] * 2, [b"x" * 100] * 2, 0.0, 1)
    held = [entry for entry in memory.find([b"%d" % number for number in range(100)]) if entry is not None]
    assert len(held) > 10
    assert memory.size > 9_000


def test_what_is_put_again_is_counted_once():
    memory = Memory(10_000)
    for _ in range(1000):
        memory.put([b"k"], [b"x" * 100], 0.0, 1)
    assert memory.find([b"k"])[0] is not None
    memory.invalidate(b"k")
    (entry,) = memory.find([b"k"])
    assert entry is not None
    assert (entry.state, entry.epoch) == (b"x" * 100, INVALID)


@given(st.lists(st.binary(min_size=1, max_size=200), min_size=1, max_size=50))
def test_a_command_is_packed_as_hiredis_packs_it(keys):
    packing = Packing()
    for _ in range(2):
        assert packing.mget(keys) == hiredis.pack_command((b"MGET", *keys))


class Store:
    """What a store answers, when the test lets it."""

    def __init__(self) -> None:
        self.asked: list[list[bytes]] = []
        self.waiting: list[asyncio.Future[list[bytes | None]]] = []

    def fetch(self, keys: Sequence[bytes]) -> asyncio.Future[list[bytes | None]]:
        self.asked.append(list(keys))
        self.waiting.append(asyncio.get_running_loop().create_future())
        return self.waiting[-1]

    async def answer(self, version: bytes = b"") -> None:
        """The oldest read that waits."""
        number = next(i for i, waiting in enumerate(self.waiting) if not waiting.done())
        self.waiting[number].set_result([key + version for key in self.asked[number]])
        await asyncio.sleep(0)
        await asyncio.sleep(0)


async def test_the_first_read_goes_at_once_and_those_of_a_turn_go_together():
    store = Store()
    reads = Reads(store.fetch)
    first = reads.get([b"a"])
    assert store.asked == [[b"a"]]
    second, third = reads.get([b"b"]), reads.get([b"c", b"d"])
    await asyncio.sleep(0)
    assert store.asked == [[b"a"], [b"b", b"c", b"d"]]
    await store.answer()
    await store.answer()
    assert [await first, await second, await third] == [[b"a"], [b"b"], [b"c", b"d"]]


async def test_a_store_that_hangs_gets_four_reads_and_none_that_nobody_waits_for():
    store = Store()
    reads = Reads(store.fetch)
    waiting = []
    for number in range(20):
        waiting.append(reads.get([b"%d" % number]))
        await asyncio.sleep(0)
    assert len(store.asked) == 4
    for left in waiting[4:19]:
        left.cancel()
    await store.answer()
    assert store.asked[4:] == [[b"19"]]
    while not waiting[19].done():
        await store.answer()


def near_cache(store: Store, epoch: list[int]) -> NearCache:
    return NearCache(Reads(store.fetch), Memory(10**6), lambda: epoch[0], 600.0, lambda *_: None)


async def looked_up(near: NearCache, *, tracked: bool = True) -> list[bytes | None]:
    (got,) = await near.get([Asked("view", [b"k"], tracked)], time.monotonic() + 5, ask=True)
    assert got.unread is None
    return list(got.states)


async def test_a_write_that_overtakes_a_read_spoils_what_it_would_have_kept():
    store = Store()
    near = near_cache(store, [1])
    first = asyncio.create_task(looked_up(near))
    await asyncio.sleep(0.01)
    near.invalidate(b"k")  # told while the read is on its way
    second = asyncio.create_task(looked_up(near))
    await asyncio.sleep(0.01)
    await store.answer(b"-old")
    await store.answer(b"-new")
    assert await first == [b"k-old"]  # its request began before the write was known
    assert await second == [b"k-new"]
    assert await looked_up(near) == [b"k-new"]
    assert len(store.asked) == 2


async def test_what_was_read_under_an_epoch_that_is_lost_is_read_again():
    store, epoch = Store(), [1]
    near = near_cache(store, epoch)
    for now, reads in ((1, 1), (1, 1), (0, 2), (0, 3), (2, 4), (2, 4)):
        epoch[0] = now
        lookup = asyncio.create_task(looked_up(near))
        await asyncio.sleep(0.01)
        if not lookup.done():
            await store.answer()
        await lookup
        assert len(store.asked) == reads, f"at epoch {now}"


async def test_what_is_on_its_way_is_not_asked_for_again():
    store = Store()
    near = near_cache(store, [0])
    lookups = [asyncio.create_task(looked_up(near, tracked=False)) for _ in range(5)]
    await asyncio.sleep(0.01)
    await store.answer()
    assert [await each for each in lookups] == [[b"k"]] * 5
    assert len(store.asked) == 1


@pytest.mark.parametrize(
    "lines",
    [([b"k", b"k", b"l", b"m"],), ([b"k"], [b"k", b"l", b"m"])],
    ids=["one customer twice", "two bundles"],
)
async def test_a_key_that_is_asked_for_twice_at_once_is_read_once_and_holds_no_other_back(lines):
    store = Store()
    near = near_cache(store, [0])

    async def found(version: bytes) -> list[list[bytes | None]]:
        asked = [Asked("view", keys, tracked=False) for keys in lines]
        lookup = asyncio.create_task(near.get(asked, time.monotonic() + 5, ask=True))
        await asyncio.sleep(FRESH_SECONDS + 0.05)  # what was read before is no longer fresh
        await store.answer(version)
        return [list(got.states) for got in await lookup]

    for version in (b"-old", b"-new"):
        assert await found(version) == [[key + version for key in keys] for keys in lines]
    assert store.asked == [[b"k", b"l", b"m"]] * 2


def test_a_bundle_takes_columns_across_views_in_its_own_order():
    bundle = compile_features(parsed(CONFIG)).bundles["customer-preference"]
    assert [column.name for column in bundle.columns] == ["clicks_1h", "last_intent", "spent", "channel_24h"]
    keys = bundle.keys({"customer_id": ["1", "2"]})
    assert [len(part) for part in keys] == [2, 2]
    now = time.time_ns() // 1_000_000
    reads = [Read([None, None], now_ms=now), Read([None, None], now_ms=now)]
    found = bundle.found(reads)
    assert [values.tolist() for values in found.values] == [[0, 0], ["unknown"] * 2, [0.0, 0.0], ["none"] * 2]
    assert (found.statuses == Status.DEFAULTED).all()


async def test_what_is_evaluated_together_is_what_is_evaluated_alone():
    compiled = compile_features(parsed(CONFIG))
    now = time.time_ns() // 1_000_000
    view = compiled.views["customer-intent"]
    rows = [view.row({"last_intent": f"i{n}", "confidence": n / 8}, now, "micro-intent@4") for n in range(9)]
    states = [
        [rows[0], None],
        [None],
        [rows[1], rows[2], rows[3]],
        [rows[4]] * 4000,
        [rows[5]] * 100,
        rows[6:],
    ]
    evaluations = Evaluations()
    together = await asyncio.gather(*(evaluations.of(view, Read(part, now_ms=now)) for part in states))
    for part, whole in zip(states, together, strict=True):
        alone = view.evaluate(part, now)
        assert [v.tolist() for v in whole.values] == [v.tolist() for v in alone.values]
        assert whole.statuses.tolist() == alone.statuses.tolist()
        assert whole.windows == alone.windows
        assert whole.updated_ms.tolist() == alone.updated_ms.tolist()


def test_an_entity_with_two_keys_is_one_entity_a_row():
    entity = {"name": "visit", "keys": [{"name": "customer_id"}, {"name": "store", "type": "integer"}]}
    views = {"visits": {**VIEWS["customer-intent"], "entity": entity}}
    bundles = {"visit": {"features": [{"view": "visits", "feature": "last_intent"}]}}
    bundle = compile_features(parsed(config_of("redis://nowhere:1", views, bundles))).bundles["visit"]
    ((one, two),) = bundle.keys({"customer_id": ["a", "a"], "store": [1, 2]})
    assert one != two
    with pytest.raises(InvalidKeys, match="as many values"):
        bundle.keys({"customer_id": ["a"], "store": [1, 2]})
    with pytest.raises(InvalidKeys, match=r"store\[0\]: must be a whole number"):
        bundle.keys({"customer_id": ["a"], "store": [True]})


def changed(**changes: Any) -> dict[str, Any]:
    value: dict[str, Any] = json.loads(json.dumps(CONFIG))
    value.update(changes)
    return value


@pytest.mark.parametrize(
    ("config", "words"),
    [
        (changed(stores={}), "the store default is not in the configuration"),
        (
            changed(views={"customer-activity": CONFIG["views"]["customer-activity"]}),
            "customer-intent is not in",
        ),
        (
            changed(bundles={"b": {"features": [{**BUNDLES["product"]["features"][0], "window": "5h"}]}}),
            "has no column views_5h: views_1h, views_24h, sold_24h",
        ),
    ],
)
def test_a_configuration_that_does_not_hang_together_is_refused_by_name(config, words):
    with pytest.raises(InvalidFeatures, match=words):
        compile_features(parsed(config))


def test_a_name_that_nobody_has_gets_the_nearest():
    compiled = compile_features(parsed(CONFIG))
    assert compiled.nearest("customer-preferences") == "customer-preference"
    assert compiled.nearest("weather") is None
