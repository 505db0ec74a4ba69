# SPDX-License-Identifier: Apache-2.0
"""The feature sidecar as a process over a real Redis: values, statuses, refusals, records, an orderly end."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from feature_sidecars import BUNDLES, Feeder, Sidecar, ask, config_of, sidecar
from redis_servers import RedisServer, redis_server

from endcap_runtime.wire import oip


@pytest.fixture(scope="module")
def redis(tmp_path_factory) -> Iterator[RedisServer]:
    with redis_server(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture(scope="module")
def config(redis) -> dict[str, Any]:
    return config_of(redis.url)


@pytest.fixture(scope="module")
def feeder(config) -> Feeder:
    return Feeder(config)


@pytest.fixture(scope="module")
def features(config, tmp_path_factory) -> Iterator[Sidecar]:
    """One sidecar for the tests that leave its configuration alone."""
    with sidecar(config, tmp_path_factory.mktemp("sidecar")) as server:
        yield server


def status(found: dict[str, Any], column: str) -> str:
    (only,) = found["statuses"][column]
    return str(only)


def preference(features: Sidecar, customer: str) -> dict[str, Any]:
    (found,) = features.lookup(ask("customer-preference", customer_id=[customer]))
    return found


def test_one_request_looks_up_several_bundles_with_one_read(features, feeder):
    feeder.event("click", customer_id="1467", product_id="12", channel="web")
    feeder.event("click", customer_id="1467", product_id="12", channel="app")
    feeder.event("purchase", customer_id="1467", product_id="13", amount=4.25, quantity=2.0)
    reads = features.metric("endcap_features_reads_total")
    customer, products = features.lookup(
        ask("customer-preference", customer_id=["1467"]), ask("product", product_id=["12", "13", "14"])
    )
    assert features.metric("endcap_features_reads_total") == reads + 1
    assert customer["columns"] | {"channel_24h": None} == {
        "clicks_1h": [2], "last_intent": ["unknown"], "spent": [4.25], "channel_24h": None,
    }  # fmt: skip
    assert customer["columns"]["channel_24h"][0] in ("app", "web")  # one millisecond may hold both
    assert products["columns"] == {"views_1h": [2, 0, 0], "sold_24h": [0.0, 2.0, 0.0]}
    assert products["statuses"]["views_1h"] == ["PRESENT", "PRESENT", "DEFAULTED"]
    assert products["rows"] == 3


def test_windows_are_told_with_the_clock_of_redis(features, redis):
    (found,) = features.lookup(ask("customer-preference", customer_id=["nobody"]))
    with redis.client() as client:
        seconds, micros = client.time()
    to = time.mktime(time.strptime(found["windows"]["clicks_1h"]["to"][:19], "%Y-%m-%dT%H:%M:%S"))
    assert abs(to - time.mktime(time.gmtime(seconds + micros / 1e6))) <= 2
    assert "last_intent" not in found["windows"]


def test_the_binary_answer_says_what_the_json_says(features, feeder):
    feeder.event("click", customer_id="b1", product_id="b2", channel="web")
    body = {
        "lookups": [ask("customer-preference", customer_id=["b1", "b9"]), ask("product", product_id=["b2"])]
    }
    answer = features.post("/v1/lookup", body, accept="application/octet-stream")
    assert answer.headers["content-type"] == "application/octet-stream"
    length = int(answer.headers["inference-header-content-length"])
    tensors = {tensor.name: tensor for tensor in oip.parse_response(answer.content, length)}
    customer, product = features.lookup(*body["lookups"])
    assert tensors["0.clicks_1h"].data.tolist() == customer["columns"]["clicks_1h"] == [1, 0]
    assert [t.decode() for t in tensors["0.last_intent"].data] == customer["columns"]["last_intent"]
    assert tensors["0.statuses"].datatype == "UINT8"
    assert tensors["0.statuses"].data[0].tolist() == [0, 1]  # PRESENT, DEFAULTED
    assert tensors["1.views_1h"].data.tolist() == product["columns"]["views_1h"]
    parameters = json.loads(answer.content[:length])["parameters"]
    assert parameters["0"]["digest"] == customer["digest"]
    (start, end), none, *_ = parameters["0"]["windows"]
    assert (end - start, none) == (3_600_000, None)


def test_an_entity_that_nobody_knows_has_the_defaults(features):
    found = preference(features, "never-seen")
    assert found["columns"] == {
        "clicks_1h": [0], "last_intent": ["unknown"], "spent": [0.0], "channel_24h": ["none"],
    }  # fmt: skip
    assert {s for row in found["statuses"].values() for s in row} == {"DEFAULTED"}


def test_a_row_is_present_until_its_ttl(features, feeder):
    feeder.row("customer-intent", "e1", "micro-intent@4", last_intent="party")
    found = preference(features, "e1")
    assert (found["columns"]["last_intent"], status(found, "last_intent")) == (["party"], "PRESENT")
    feeder.row("customer-intent", "e2", "micro-intent@4", age_ms=3_600_500, last_intent="party")
    found = preference(features, "e2")
    assert (found["columns"]["last_intent"], status(found, "last_intent")) == (["unknown"], "EXPIRED")


def test_what_another_version_of_the_model_wrote_is_expired(features, feeder):
    feeder.row("customer-intent", "v1", "micro-intent@3", last_intent="party")
    found = preference(features, "v1")
    assert (found["columns"]["last_intent"], status(found, "last_intent")) == (["unknown"], "EXPIRED")


def test_a_window_beyond_what_is_kept_is_truncated_and_says_from_when(features, feeder):
    for age in range(20, 0, -1):
        feeder.event("click", age_ms=age * 1000, customer_id="t1", product_id="t1", channel="web")
    assert status(preference(features, "t1"), "clicks_1h") == "TRUNCATED"
    assert preference(features, "t1")["columns"]["clicks_1h"] == [16]
    told = features.post(
        "/v1/bundles/customer-preference", {"keys": {"customer_id": ["t0", "t1"]}, "explain": True}
    ).json()["explain"]["clicks_1h"]
    assert told["description"] == "How often the customer clicked"
    assert list(told["windows"]) == ["1"]  # the row that is truncated, and no other
    window = told["windows"]["1"]
    assert window["from"] < window["to"]


def test_what_cannot_be_read_is_an_error_and_the_default(features, feeder, redis):
    with redis.client() as client:
        client.set(feeder.key("customer-activity", "x1"), b"no state of ours")
    found = preference(features, "x1")
    assert (found["columns"]["clicks_1h"], status(found, "clicks_1h")) == ([0], "ERROR")


def test_a_store_behind_its_events_is_stale(features, feeder, redis, config):
    feeder.event("click", customer_id="s1", product_id="s1", channel="web")
    assert status(preference(features, "s1"), "clicks_1h") == "PRESENT"
    events = f"{config['stores']['default']['prefix']}:events"
    with redis.client() as client:
        seconds, _ = client.time()
        client.xadd(events, {"e": "{}"}, id=f"{(seconds - 60) * 1000}-0")
        until = time.monotonic() + 20
        while status(preference(features, "s1"), "clicks_1h") != "STALE" and time.monotonic() < until:
            time.sleep(0.05)
        found = preference(features, "s1")
        assert (status(found, "clicks_1h"), found["columns"]["clicks_1h"]) == ("STALE", [1])
        assert status(found, "last_intent") == "DEFAULTED"  # rows do not wait in the stream
        assert features.metric("endcap_features_lag_seconds") >= 60
        client.delete(events)
    while status(preference(features, "s1"), "clicks_1h") != "PRESENT" and time.monotonic() < until:
        time.sleep(0.05)
    assert status(preference(features, "s1"), "clicks_1h") == "PRESENT"


PRODUCT = {"bundle": "product", "keys": {"product_id": ["1"]}}
REFUSED = [
    (400, None, b"{", "not valid JSON"),
    (400, None, b'{"lookups":[],"lookups":[]}', "not valid JSON"),
    (400, None, [], "must be a JSON object"),
    (422, "lookups", {}, "is missing"),
    (422, "lookups", {"lookups": []}, "1 to 64"),
    (422, "lookups[0]", {"lookups": [{"bundle": "product"}]}, "bundle, keys"),
    (422, "look_ups", {"lookups": [PRODUCT], "look_ups": 1}, "is not a field here"),
    (422, "timeout_ms", {"lookups": [PRODUCT], "timeout_ms": 0}, "whole number"),
    (422, "timeout_ms", {"lookups": [PRODUCT], "timeout_ms": True}, "whole number"),
    (422, "request_id", {"lookups": [PRODUCT], "request_id": 7}, "text"),
    (422, "lookups[0].bundle", {"lookups": [{**PRODUCT, "bundle": 7}]}, "name of a bundle"),
    (422, "lookups[0].digest", {"lookups": [{**PRODUCT, "digest": 7}]}, "a text"),
    (422, "lookups[0].keys", {"lookups": [{**PRODUCT, "keys": []}]}, "an object of lists"),
    (422, "lookups[0].keys.product_id", {"lookups": [ask("product", customer_id=["1"])]}, "has the keys product_id"),
    (422, "lookups[0].keys.store", {"lookups": [ask("product", product_id=["1"], store=["1"])]}, "no key of it"),
    (422, "lookups[0].keys.product_id", {"lookups": [ask("product", product_id="1")]}, "a list"),
    (422, "lookups[0].keys.product_id", {"lookups": [ask("product", product_id=[])]}, "a list of 1 to"),
    (422, "lookups[0].keys.product_id", {"lookups": [ask("product", product_id=["1"] * 4097)]}, "a list of 1 to"),
    (422, "lookups[0].keys.product_id[1]", {"lookups": [ask("product", product_id=["1", 2])]}, "must be a text"),
    (422, "lookups[0].keys.product_id[0]", {"lookups": [ask("product", product_id=["a{b}"])]}, "{"),
    (422, "lookups[0].keys.product_id[0]", {"lookups": [ask("product", product_id=[""])]}, "1 to 128"),
    (422, "lookups[0].keys.product_id[1]", {"lookups": [ask("product", product_id=["1", "x" * 129])]}, "128"),
    (404, None, {"lookups": [{**PRODUCT, "bundle": "produkt"}]}, "Did you mean product?"),
    (409, None, {"lookups": [{**PRODUCT, "digest": "000000000000"}]}, "one side is behind"),
]  # fmt: skip


@pytest.mark.parametrize(("code", "field", "body", "words"), REFUSED)
def test_a_bad_request_is_told_what_is_wrong(features, code, field, body, words):
    answer = features.post("/v1/lookup", body)
    assert answer.status_code == code, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    if field:
        assert [error["field"] for error in problem["errors"]] == [field]
    assert words in answer.text


def test_what_follows_a_bad_request_on_its_connection_is_answered(features):
    with features.client() as client:
        assert client.post("/v1/lookup", content=b"{").status_code == 400
        assert client.post("/v1/lookup", json={"lookups": [PRODUCT]}).status_code == 200
        assert client.get("/v1/lookup").status_code == 405
        assert client.get("/v1/nothing").status_code == 404
        assert client.post("/v1/bundles/nothing", json={"keys": {}}).status_code == 404
        assert client.post("/v1/bundles/product", json={"keys": {}, "explain": 1}).status_code == 422


def test_the_port_shows_probes_and_metrics_and_no_features(features):
    assert httpx.get(f"{features.url}/livez").status_code == 200
    assert httpx.get(f"{features.url}/readyz").json() == {"ready": True}
    assert httpx.post(f"{features.url}/v1/lookup", json={"lookups": [PRODUCT]}).status_code == 404
    assert features.metric("endcap_features_lookups_total", bundle="product", outcome="ok") > 0
    assert features.metric("endcap_features_values_total", bundle="product", status="DEFAULTED") > 0
    assert features.metric("endcap_features_lookup_seconds_count") > 0


def record(**changes: Any) -> dict[str, Any]:
    write = {
        "view": "customer-intent",
        "keys": {"customer_id": ["r1", "r2"]},
        "features": {"last_intent": ["picnic", "party"], "confidence": [0.75, 0.25]},
        "version": "micro-intent@4",
    }
    return {"request_id": "abc", "time_ms": int(time.time() * 1000), "write": [{**write, **changes}]}


def test_a_result_that_is_written_back_is_a_feature_in_the_next_lookup(features):
    assert features.post("/v1/records", record()).status_code == 202
    until = time.monotonic() + 10
    while preference(features, "r2")["columns"]["last_intent"] != ["party"] and time.monotonic() < until:
        time.sleep(0.02)
    assert preference(features, "r1")["columns"]["last_intent"] == ["picnic"]
    assert status(preference(features, "r2"), "last_intent") == "PRESENT"


def test_a_result_of_a_time_to_come_is_refused(features):
    """It would keep newer ones out until then."""
    ahead = {**record(keys={"customer_id": ["a1", "a2"]}), "time_ms": int(time.time() * 1000) + 120_000}
    answer = features.post("/v1/records", ahead)
    assert answer.status_code == 422
    (fault,) = answer.json()["errors"]
    assert fault["field"] == "time_ms"
    assert "clock" in fault["message"]


def test_what_was_served_is_logged_by_the_id_of_its_request(features, redis, config):
    served = {
        "step": "who", "bundle": "product", "digest": "d", "keys": {"product_id": ["1"]},
        "columns": {"views_1h": [3]}, "statuses": {"views_1h": ["PRESENT"]},
    }  # fmt: skip
    body = {"request_id": "of-interest", "time_ms": 1, "graph": "basket", "revision": "r", "served": [served]}
    assert features.post("/v1/records", body).status_code == 202
    log = f"{config['stores']['default']['prefix']}:served"
    until = time.monotonic() + 10
    with redis.client() as client:
        while not (entries := client.xrange(log)) and time.monotonic() < until:
            time.sleep(0.02)
    ((_, fields),) = entries
    assert fields[b"r"] == b"of-interest"
    assert json.loads(fields[b"v"]) == body


@pytest.mark.parametrize(
    ("field", "changes"),
    [
        ("write[0].view", {"view": "product-activity"}),
        ("write[0].keys.customer_id[0]", {"keys": {"customer_id": [1, 2]}}),
        ("write[0].features.last_intent", {"features": {"last_intent": ["one"]}}),
        ("write[0].features.confidence", {"features": {"confidence": ["high", "low"]}}),
        ("write[0].features.mood", {"features": {"mood": ["good", "bad"]}}),
        ("write[0].version", {"version": 4}),
        ("write[0].ttl", {"ttl": 4}),
    ],
)
def test_a_record_that_does_not_fit_its_view_is_refused(features, field, changes):
    answer = features.post("/v1/records", record(**changes))
    assert answer.status_code == 422, answer.text
    assert answer.json()["errors"][0]["field"] == field


def test_a_bundle_changes_under_load_without_a_restart(config, tmp_path):
    changed = json.loads(json.dumps(config))
    changed["bundles"]["product"]["features"].pop()
    with sidecar(config, tmp_path) as features:
        before = features.get("/v1/bundles")["bundles"]["product"]
        features.write(changed)
        until = time.monotonic() + 20
        while (after := features.get("/v1/bundles"))["bundles"][
            "product"
        ] == before and time.monotonic() < until:
            assert features.lookup(PRODUCT)[0]["rows"] == 1
        assert list(features.lookup(PRODUCT)[0]["columns"]) == ["views_1h"]
        # Who is a revision behind still gets what it was compiled against.
        (old,) = features.lookup({**PRODUCT, "digest": before})
        assert list(old["columns"]) == ["views_1h", "sold_24h"]
        (new,) = features.lookup({**PRODUCT, "digest": after["bundles"]["product"]})
        assert list(new["columns"]) == ["views_1h"]


def test_a_digest_that_is_not_known_yet_makes_the_directory_be_read_at_once(config, tmp_path):
    from endcap_api.features_config import FeaturesConfig

    changed = json.loads(json.dumps(config))
    changed["bundles"]["product"]["description"] = "Another meaning"
    wanted = FeaturesConfig.model_validate(changed)
    digest = wanted.contract("product").digest
    with sidecar(config, tmp_path) as features:
        assert features.post("/v1/lookup", {"lookups": [{**PRODUCT, "digest": digest}]}).status_code == 409
        features.write(changed)
        (found,) = features.lookup({**PRODUCT, "digest": digest})
        assert found["digest"] == digest


@pytest.mark.parametrize("broken", ["{", '{"namespace": "shop"}', "no column", "no view"])
def test_a_revision_that_cannot_be_served_is_refused_and_the_last_serves_on(config, tmp_path, broken):
    named = {"no column": {"feature": "clicks"}, "no view": {"view": "customer"}}
    if broken in named:
        value = json.loads(json.dumps(config))
        value["bundles"] = {"product": {"features": [{**BUNDLES["product"]["features"][0], **named[broken]}]}}
        broken = value
    with sidecar(config, tmp_path) as features:
        before = features.get("/v1/bundles")["revision"]
        features.write(broken)
        until = time.monotonic() + 20
        while not (told := features.get("/v1/bundles"))["rejected"] and time.monotonic() < until:
            time.sleep(0.05)
        assert told["rejected"]["reason"] == "InvalidSpec"
        assert told["revision"] == before
        assert features.lookup(PRODUCT)[0]["rows"] == 1


def test_it_outlives_whoever_is_connected_and_writes_what_waits(config, tmp_path):
    with sidecar(config, tmp_path, {"ENDCAP_GRACE_SECONDS": "30"}) as features, features.client() as graph:
        assert graph.post("/v1/lookup", json={"lookups": [PRODUCT]}).status_code == 200
        features.process.terminate()
        until = time.monotonic() + 10
        while httpx.get(f"{features.url}/readyz").status_code == 200 and time.monotonic() < until:
            time.sleep(0.02)
        time.sleep(0.5)  # longer than the drain of this sidecar
        assert graph.post("/v1/lookup", json={"lookups": [PRODUCT]}).status_code == 200
        assert graph.post("/v1/records", json=record(keys={"customer_id": ["d1", "d2"]})).status_code == 202
        graph.close()
        assert features.process.wait(20) == 0
    with sidecar(config, tmp_path / "next") as features:
        assert preference(features, "d1")["columns"]["last_intent"] == ["picnic"]
