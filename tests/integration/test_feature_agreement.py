# SPDX-License-Identifier: Apache-2.0
"""The sidecar and ingest over one store: they tell the same of an entity, and of a view that only graphs write."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import Any

import httpx
import pytest
from feature_sidecars import Feeder, Sidecar, config_of, sidecar
from ingest_servers import Ingest, ingest, start
from redis_servers import RedisServer, redis_server

Window = Mapping[str, str]


@pytest.fixture(scope="module")
def redis(tmp_path_factory) -> Iterator[RedisServer]:
    with redis_server(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture(scope="module")
def config(redis) -> dict[str, Any]:
    return config_of(redis.url)


@pytest.fixture(scope="module")
def features(config, tmp_path_factory) -> Iterator[Sidecar]:
    with sidecar(config, tmp_path_factory.mktemp("sidecar"), {"ENDCAP_NEAR_CACHE_BYTES": "0"}) as server:
        yield server


@pytest.fixture(scope="module")
def pod(config, tmp_path_factory) -> Iterator[Ingest]:
    with ingest(config, tmp_path_factory.mktemp("ingest")) as server:
        yield server


def test_a_bundle_is_the_same_from_both(features, pod, config, redis):
    feeder = Feeder(config)
    for number in range(20):  # more than the view keeps
        feeder.event("click", age_ms=number * 1000, customer_id="busy", product_id="12", channel="web")
    feeder.event("purchase", customer_id="quiet", product_id="12", amount=4.25, quantity=2.0)
    feeder.row("customer-intent", "quiet", "micro-intent@4", last_intent="picnic")
    feeder.row("customer-intent", "busy", "micro-intent@3", last_intent="of an earlier version")
    with redis.client() as client:
        client.set(feeder.key("customer-intent", "broken"), b"what nobody can read")
    people = {"customer_id": ["busy", "quiet", "broken", "nobody"]}
    found = the_same(features, pod, "customer-preference", people)
    assert found["columns"]["clicks_1h"] == [16, 0, 0, 0]
    assert found["statuses"]["clicks_1h"][0] == "TRUNCATED"
    assert found["statuses"]["last_intent"] == ["EXPIRED", "PRESENT", "ERROR", "DEFAULTED"]
    assert found["explain"]["clicks_1h"]["windows"].keys() == {"0"}
    found = the_same(features, pod, "product", {"product_id": ["12", "13"]})
    assert found["columns"] == {"views_1h": [20, 0], "sold_24h": [2.0, 0.0]}


@pytest.mark.parametrize(
    ("bundle", "asked"),
    [
        ("produkt", {"keys": {"product_id": ["1"]}}),
        ("product", {"keys": {"product": ["1"]}}),
        ("product", {"keys": {"product_id": [1]}}),
        ("product", {"keys": {"product_id": []}}),
        ("product", {"keys": {"product_id": ["a{b"]}}),
        ("product", {"keys": []}),
        ("product", {"keys": {"product_id": ["1"]}, "explain": 1}),
    ],
)
def test_both_refuse_the_same_keys_by_the_same_field(features, pod, bundle, asked):
    answers = [
        features.post(f"/v1/bundles/{bundle}", asked),
        pod.post(f"/v1/bundles/{bundle}", json.dumps(asked).encode()),
    ]
    assert len({answer.status_code for answer in answers}) == 1
    assert answers[0].status_code in (404, 422)
    assert answers[0].json().get("errors") == answers[1].json().get("errors")


def the_same(features: Sidecar, pod: Ingest, bundle: str, keys: Any) -> dict[str, Any]:
    """The explained answer, once both give it at the same moment, or within the same tile."""
    body = {"keys": keys, "explain": True}
    until = time.monotonic() + 20
    while True:
        ours = features.post(f"/v1/bundles/{bundle}", body).json()
        theirs = pod.post(f"/v1/bundles/{bundle}", json.dumps(body).encode()).json()
        if at_one_moment(ours) == at_one_moment(theirs):
            return dict(theirs)
        assert time.monotonic() < until, (at_one_moment(ours), at_one_moment(theirs))


def at_one_moment(found: dict[str, Any]) -> dict[str, Any]:
    """With windows that do not say when they were asked for: lengths, or where what is kept begins."""
    told = {
        column: {**each, "windows": {row: window["from"] for row, window in each.get("windows", {}).items()}}
        for column, each in found["explain"].items()
    }
    windows = {column: _length(column, window) for column, window in found["windows"].items()}
    return {**found, "windows": windows, "explain": told}


def _length(column: str, window: Window) -> Any:
    """Of one that slides in seconds; one of tiles begins at a tile."""
    if column in ("views_1h", "sold_24h"):
        return window["from"]
    return (datetime.fromisoformat(window["to"]) - datetime.fromisoformat(window["from"])).total_seconds()


def test_a_view_that_a_graph_writes_is_known_to_be_fed(features, pod):
    begun = pod.get("/v1/views")["views"]["customer-intent"]
    assert (begun["rows"], begun["updated_ms"]) == (0, 0)
    now = int(time.time() * 1000)
    write = {
        "view": "customer-intent",
        "keys": {"customer_id": ["w1", "w2"]},
        "features": {"last_intent": ["picnic", "party"]},
        "version": "micro-intent@4",
    }
    for time_ms in (now, now - 1000):  # the later one is older, and replaces nothing
        body = {"request_id": "r", "time_ms": time_ms, "write": [write]}
        assert features.post("/v1/records", body).status_code == 202
    until = time.monotonic() + 20
    while not (told := pod.get("/v1/views")["views"]["customer-intent"])["rows"]:
        assert time.monotonic() < until, told
        time.sleep(0.05)
    assert told["rows"] == 2
    assert abs(told["updated_ms"] - now) < 20_000
    assert told["since_ms"] > 0


def test_ingest_tells_of_a_fault_while_it_is_configured_and_gets_over_it(redis, tmp_path):
    pod = start(config_of("nothing://that.is.known"), tmp_path)
    try:
        rejected = _revision(pod, lambda page: page["rejected"])["rejected"]
        assert rejected["reason"] == "Failed"
        assert "scheme" in rejected["message"]
        pod.configure(config_of(redis.url))
        assert _revision(pod, lambda page: page["serving"])["rejected"] is None
    finally:
        pod.kill()


def _revision(pod: Ingest, holds: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
    until = time.monotonic() + 30
    while True:
        try:
            if holds(page := pod.get("/-/revision")):
                return page
        except httpx.ConnectError:
            pass
        assert time.monotonic() < until, pod.log[-2000:]
        time.sleep(0.05)
