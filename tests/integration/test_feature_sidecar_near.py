# SPDX-License-Identifier: Apache-2.0
"""The near-cache holds raw states: a write is seen in the next lookup, and time passes in what is held."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from feature_sidecars import VIEWS, Feeder, Sidecar, ask, config_of, sidecar
from redis_servers import RedisServer, redis_cluster, redis_server

SOON = 20.0


@pytest.fixture(scope="module")
def redis(tmp_path_factory) -> Iterator[RedisServer]:
    with redis_server(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture(scope="module")
def config(redis) -> dict[str, Any]:
    views = json.loads(json.dumps(VIEWS))
    views["customer-activity"]["features"][0]["windows"] = ["1s", "1h"]
    bundles = {
        "customer": {"features": [
            {"view": "customer-activity", "feature": "clicks", "window": window} for window in ("1s", "1h")
        ] + [{"view": "customer-intent", "feature": "last_intent"}]},
        "product": {"features": [{"view": "product-activity", "feature": "views", "window": "1h"}]},
    }  # fmt: skip
    return config_of(redis.url, views, bundles)


@pytest.fixture(scope="module")
def feeder(config) -> Feeder:
    return Feeder(config)


@pytest.fixture(scope="module")
def features(config, tmp_path_factory) -> Iterator[Sidecar]:
    with sidecar(config, tmp_path_factory.mktemp("sidecar")) as server:
        held(server, "tracking-began")
        yield server


def customer(features: Sidecar, who: str) -> dict[str, Any]:
    (found,) = features.lookup(ask("customer", customer_id=[who]))
    columns: dict[str, Any] = found["columns"]
    return columns


def eventually(holds: Callable[[], bool]) -> None:
    until = time.monotonic() + SOON
    while not holds():
        assert time.monotonic() < until, "not in time"
        time.sleep(0.01)


def reads(features: Sidecar) -> float:
    return features.metric("endcap_features_reads_total")


def held(features: Sidecar, who: str) -> None:
    """Until a lookup of this customer asks Redis nothing."""

    def asks_nothing() -> bool:
        before = reads(features)
        customer(features, who)
        return reads(features) == before

    eventually(asks_nothing)


def test_what_is_held_is_not_asked_for_again(features, feeder):
    feeder.event("click", customer_id="n1", product_id="n1", channel="web")
    assert customer(features, "n1")["clicks_1h"] == [1]
    before = reads(features)
    hits = features.metric("endcap_features_near_cache_total", outcome="hit", view="customer-activity")
    for _ in range(20):
        assert customer(features, "n1")["clicks_1h"] == [1]
    assert reads(features) == before
    after = features.metric("endcap_features_near_cache_total", outcome="hit", view="customer-activity")
    assert after == hits + 20


def test_a_write_is_seen_in_the_next_lookup_after_its_invalidation(features, feeder):
    """Two hundred writes, each to a state that is held; none may be missing a moment later."""
    held(features, "n2")
    for number in range(1, 201):
        feeder.event("click", age_ms=number, customer_id="n2", product_id="n2", channel="web")
        told = time.monotonic() + 0.25  # a hundred times what Redis takes to tell
        while (seen := customer(features, "n2")["clicks_1h"][0]) < min(number, 16):
            assert time.monotonic() < told, f"{seen} of {number}"


def test_an_entity_that_was_not_there_is_seen_when_it_comes(features, feeder):
    assert customer(features, "n3")["last_intent"] == ["unknown"]
    held(features, "n3")
    feeder.row("customer-intent", "n3", "micro-intent@4", last_intent="party")
    eventually(lambda: customer(features, "n3")["last_intent"] == ["party"])
    feeder.row("customer-intent", "n3", "micro-intent@4", last_intent="picnic")
    eventually(lambda: customer(features, "n3")["last_intent"] == ["picnic"])


def test_a_window_decays_while_its_state_is_held(features, feeder):
    feeder.event("click", customer_id="n4", product_id="n4", channel="web")
    assert customer(features, "n4") | {"last_intent": []} == {
        "clicks_1s": [1], "clicks_1h": [1], "last_intent": [],
    }  # fmt: skip
    held(features, "n4")
    before = reads(features)
    eventually(lambda: customer(features, "n4")["clicks_1s"] == [0])
    assert customer(features, "n4")["clicks_1h"] == [1]
    assert reads(features) == before


def test_tiles_are_asked_for_again_after_a_moment(features, feeder):
    def views() -> Any:
        return features.lookup(ask("product", product_id=["n5"]))[0]["columns"]["views_1h"]

    assert views() == [0]
    feeder.event("click", customer_id="n5", product_id="n5", channel="web")
    eventually(lambda: views() == [1])


def test_what_is_held_is_forgotten_when_redis_can_no_longer_tell(features, feeder, redis):
    feeder.row("customer-intent", "n6", "micro-intent@4", last_intent="party")
    held(features, "n6")
    with redis.client() as client:
        client.client_kill_filter(_type="pubsub")
        # A write that nobody is told of: it came while the connection was down.
        feeder.row("customer-intent", "n6", "micro-intent@4", last_intent="picnic")
        assert customer(features, "n6")["last_intent"] == ["picnic"]
    held(features, "n6")
    assert customer(features, "n6")["last_intent"] == ["picnic"]


def test_a_database_that_is_emptied_is_empty_in_the_next_lookup(features, feeder, redis):
    feeder.row("customer-intent", "n7", "micro-intent@4", last_intent="party")
    held(features, "n7")
    with redis.client() as client:
        client.flushdb()
    eventually(lambda: customer(features, "n7")["last_intent"] == ["unknown"])


def test_requests_for_the_same_states_at_once_are_one_read(features, feeder):
    products = [f"flight-{number}" for number in range(500)]
    before = features.metric("endcap_features_near_cache_total", outcome="miss", view="product-activity")
    asked = reads(features)
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: features.lookup(ask("product", product_id=products)), range(8)))
    assert all(answer[0]["rows"] == 500 for answer in answers)
    missed = (
        features.metric("endcap_features_near_cache_total", outcome="miss", view="product-activity") - before
    )
    assert reads(features) - asked <= missed / 500  # never more than there were misses; fewer where they met


def test_it_stays_within_its_bytes(config, tmp_path):
    with sidecar(config, tmp_path, {"ENDCAP_NEAR_CACHE_BYTES": "20000"}) as features:
        for start in range(0, 2000, 100):
            people = [str(number) for number in range(start, start + 100)]
            features.lookup(ask("customer", customer_id=people))
        before = reads(features)
        customer(features, "0")
        assert reads(features) == before + 1  # the first of them had to make room


def test_without_a_near_cache_every_lookup_reads(config, tmp_path):
    with sidecar(config, tmp_path, {"ENDCAP_NEAR_CACHE_BYTES": "0"}) as features:
        before = reads(features)
        for _ in range(5):
            customer(features, "n1")
        assert reads(features) == before + 5


def test_a_cluster_answers_the_same(tmp_path):
    with redis_cluster(tmp_path / "redis") as cluster:
        config = config_of(cluster.url, cluster=True)
        feeder = Feeder(config)
        with sidecar(config, tmp_path) as features:
            people = [f"c{number}" for number in range(20)]
            for who in people:
                feeder.event("click", customer_id=who, product_id=who, channel="web")
            feeder.row("customer-intent", "c3", "micro-intent@4", last_intent="party")
            (found,) = features.lookup(ask("customer-preference", customer_id=[*people, "nobody"]))
            assert found["columns"]["clicks_1h"] == [1] * 20 + [0]
            assert found["columns"]["last_intent"][3] == "party"
            feeder.event("click", customer_id="c4", product_id="c4", channel="web")
            eventually(
                lambda: features.lookup(ask("product", product_id=["c4"]))[0]["columns"]["views_1h"] == [2]
            )
