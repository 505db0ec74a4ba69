# SPDX-License-Identifier: Apache-2.0
"""What ingest refuses of experiments: it says which field and what to do, and nothing has changed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from experiment_shop import (
    RANKER,
    UNIT_KEY,
    cart,
    exposing,
    exposure,
    measured,
    now_ms,
    order,
    settled_sums,
    sums_of,
    unit_key,
)
from ingest_servers import PREFIX, Ingest, event, eventually, features, ingest
from redis_contents import contents
from redis_servers import RedisServer, redis_server

from endcap_api.experiment_config import experiment_id
from endcap_runtime.features.experiments.measured import beginning_of, keys_of
from endcap_runtime.features.experiments.units import hidden

EXPOSURES = f"{PREFIX}:exposures"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with redis_server(tmp_path_factory.mktemp("redis")) as running:
        yield running


@pytest.fixture(scope="module")
def pod(server: RedisServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ingest]:
    work = tmp_path_factory.mktemp("pod")
    with ingest(measured(server.url), work, environ=unit_key(work)) as running:
        yield running


def without(name: str) -> dict[str, Any]:
    return {key: value for key, value in exposure("1").items() if key != name}


MALFORMED: dict[str, tuple[Any, str]] = {
    "no object": (["1"], "exposures[1]"),
    "no unit": (without("unit"), "exposures[1].unit"),
    "an empty unit": (exposure(""), "exposures[1].unit"),
    "a number as unit": (exposure(7), "exposures[1].unit"),  # type: ignore[arg-type]
    "half a character": (json.loads('{"unit": "\\ud800"}') | without("unit"), "exposures[1].unit"),
    "a unit without end": (exposure("u" * 1025), "exposures[1].unit"),
    "another schema": (exposure("1", schema=2), "exposures[1].schema"),
    "no schema": (exposure("1", schema=True), "exposures[1].schema"),
    "no id": (exposure("1", experiment_id="ranker-v2"), "exposures[1].experiment_id"),
    "an id that is another's key": (exposure("1", experiment_id="a{1}:sums"), "exposures[1].experiment_id"),
    "a time that is text": (exposure("1", time_ms="now"), "exposures[1].time_ms"),
    "a time before all time": (exposure("1", time_ms=0), "exposures[1].time_ms"),
    "an unknown variant": (exposure("1", "treat"), "exposures[1].variant"),
    "a variant that is no name": (exposure("1", "a|b"), "exposures[1].variant"),
    "served by nobody known": (exposure("1", served=""), "exposures[1].served"),
    "an unknown reason": (exposure("1", reason="not_covered", in_analysis=False), "exposures[1].reason"),
    "a reason that is a list": (exposure("1", reason=["assigned"]), "exposures[1].reason"),
    "a field that may be a unit": ({**exposure("1"), "Unit 1467": 1}, "exposures[1]"),
    "forced in the analysis": (exposure("1", reason="forced"), "exposures[1].in_analysis"),
    "a bucket too many": (exposure("1", bucket=10_000), "exposures[1].bucket"),
    "a propensity of two": (exposure("1", propensity=2), "exposures[1].propensity"),
    "epoch naught": (exposure("1", epoch=0), "exposures[1].epoch"),
    "an epoch that is a text": (exposure("1", epoch="1"), "exposures[1].epoch"),
    "a covariate of no metric": (exposure("1", covariates={"age": 1}), "exposures[1].covariates"),
    "a covariate that is text": (exposure("1", covariates={"revenue": "1"}), "exposures[1].covariates"),
    "a covariate beyond all": (exposure("1", covariates={"revenue": 1e200}), "exposures[1].covariates"),
    "items without positions": (exposure("1", items=["821"]), "exposures[1].items"),
    "a field more": (exposure("1", price=1), "exposures[1].price"),
    "a request id without end": (exposure("1", request_id="r" * 300), "exposures[1].request_id"),
    "an answer before the question": (exposure("1", latency_ms=-1), "exposures[1].latency_ms"),
    "items that take too much": (
        exposure("1", items=[{"product": "p" * 250, "position": n + 1} for n in range(300)]),
        "exposures[1].items",
    ),
}


@pytest.mark.parametrize("name", MALFORMED)
def test_a_malformed_exposure_refuses_the_request_by_field(
    pod: Ingest, server: RedisServer, name: str
) -> None:
    bad, field = MALFORMED[name]
    with server.client() as client:
        before = contents(client)
        body = json.dumps({"exposures": [exposure("1"), bad]}).encode()
        answer = pod.post("/v1/exposures", body)
        assert contents(client) == before
    if name == "half a character":
        assert answer.status_code == 400, "no reader of JSON may take it"
        return
    assert answer.status_code == 422, answer.text
    told = {fault["field"]: fault["message"] for fault in answer.json()["errors"]}
    assert field in told, told
    assert len(told[field]) > 10


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"[]", 400),
        (b'{"exposures": [{"unit": "1", "unit": "2"}]}', 400),
        (b'{"exposures": {}}', 422),
        (b"{}", 422),
        (b'{"exposures": [], "more": 1}', 422),
        (json.dumps({"exposures": [exposure("1")] * 501}).encode(), 413),
        (json.dumps({"exposures": [exposure("1", items=[])] * 400, "pad": "x" * (1 << 20)}).encode(), 413),
    ],
)
def test_a_malformed_request_is_refused(pod: Ingest, body: bytes, status: int) -> None:
    assert pod.post("/v1/exposures", body).status_code == status
    assert pod.post("/v1/exposures", b'{"exposures": []}', "text/plain").status_code == 415


@pytest.mark.parametrize(
    ("given", "field"),
    [
        (event("e", "cart", channel="web"), "events[0].data.customer"),
        (cart("e", None), "events[0].data.customer"),
        (cart("e", ""), "events[0].data.customer"),
        (cart("e", 1.5), "events[0].data.customer"),
        (cart("e", [True]), "events[0].data.customer"),
        (event("e", "cart", customer="1"), "events[0].data.channel"),
        (event("e", "order", customer="1", buyer="1"), "events[0].data.amount"),
        (order("e", "1", "10"), "events[0].data.amount"),  # type: ignore[arg-type]
        (order("e", "1", 1e13), "events[0].data.amount"),
        (event("e", "order", customer="1", amount=1), "events[0].data.buyer"),
        (event("e", "carts", customer="1"), "events[0].type"),
    ],
)
def test_an_outcome_that_no_metric_can_count_is_refused_by_field(
    pod: Ingest, server: RedisServer, given: dict[str, Any], field: str
) -> None:
    with server.client() as client:
        before = contents(client)
        answer = pod.send(given)
        assert contents(client) == before
    assert answer.status_code == 422
    assert [fault["field"] for fault in answer.json()["errors"]] == [field]


def test_an_experiment_that_is_not_of_this_store_is_not_there(pod: Ingest, server: RedisServer) -> None:
    """One of another namespace on the same Redis, too; nothing tells whether it exists."""
    foreign = experiment_id("of another namespace")
    with server.client() as client:
        client.hset(f"{PREFIX}:exp:{foreign}:sums{{1}}", "units|1|control", 7)
    answers = [httpx.get(f"{pod.url}/v1/experiments/{name}") for name in (foreign, experiment_id("none"))]
    assert [answer.status_code for answer in answers] == [404, 404]
    assert answers[0].json() == answers[1].json()
    for path in ("ranker-v2", RANKER.upper(), f"{RANKER}/", f"{RANKER}%20"):
        assert httpx.get(f"{pod.url}/v1/experiments/{path}").status_code == 404
    assert httpx.get(f"{pod.url}/v1/experiments/{RANKER}?limit=1").status_code == 422
    assert httpx.post(f"{pod.url}/v1/experiments/{RANKER}").status_code == 405
    assert httpx.get(f"{pod.url}/v1/exposures?unit=1").status_code == 422


def test_no_more_exposures_wait_than_may(tmp_path: Path) -> None:
    """While nothing is measured they wait, and once it is they count; what is in the log already is not in the way."""
    with (
        redis_server(tmp_path / "redis") as server,
        ingest(features(server.url, maxBacklog=5), tmp_path / "pod", environ=unit_key(tmp_path)) as pod,
    ):
        assert exposing(pod, *(exposure(str(n)) for n in range(4))).status_code == 202
        refused = exposing(pod, exposure("5"), exposure("6"))
        assert (refused.status_code, refused.headers["retry-after"]) == (429, "1")
        assert exposing(pod, exposure("4")).status_code == 202
        assert exposing(pod, exposure("7")).status_code == 429
        assert httpx.get(f"{pod.url}/v1/experiments/{RANKER}").status_code == 404
        pod.configure(measured(server.url, maxBacklog=5))
        eventually(lambda: httpx.get(f"{pod.url}/v1/experiments/{RANKER}").status_code == 200)
        assert settled_sums(pod)["epochs"]["1"]["treatment"]["units"] == 5
        assert exposing(pod, *(exposure(str(n)) for n in range(5, 10))).status_code == 202
        assert settled_sums(pod)["epochs"]["1"]["treatment"]["units"] == 10
        assert exposing(pod, *(exposure(str(n)) for n in range(6))).status_code == 429


def test_a_store_that_is_away_takes_nothing_and_says_when_to_come_again(tmp_path: Path) -> None:
    with (
        redis_server(tmp_path / "redis") as server,
        ingest(measured(server.url), tmp_path / "pod", environ=unit_key(tmp_path)) as pod,
    ):
        exposing(pod, exposure("1"))
        settled_sums(pod)
        server.kill()
        answer = exposing(pod, exposure("2"))
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
        for path in (f"/v1/experiments/{RANKER}", "/v1/exposures"):
            assert httpx.get(pod.url + path).status_code == 503
        server.start()
        assert exposing(pod, exposure("2")).status_code == 202
        assert settled_sums(pod)["epochs"]["1"]["treatment"]["units"] == 1, "nothing was kept on a disk"


def test_without_a_key_nothing_is_measured_until_there_is_one(tmp_path: Path) -> None:
    environ = unit_key(tmp_path)
    file = tmp_path / "unit-key" / "unitKey"
    file.unlink()
    with (
        redis_server(tmp_path / "redis") as server,
        ingest(features(server.url), tmp_path / "pod", environ=environ) as pod,
    ):
        answer = exposing(pod, exposure("1"))
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
        pod.configure(measured(server.url))
        rejected = eventually(lambda: pod.get("/-/revision")["rejected"])
        assert "unitKey" in rejected["message"]
        assert pod.send(event("still", customer_id="1")).status_code == 202
        file.write_text("short")
        assert exposing(pod, exposure("1")).status_code == 503
        file.write_text(UNIT_KEY)
        eventually(lambda: pod.get("/-/revision")["rejected"] is None)
        assert exposing(pod, exposure("1")).status_code == 202
        file.unlink()
        assert exposing(pod, exposure("2")).status_code == 202, (
            "a Secret that is gone for a moment stops nobody"
        )
        assert settled_sums(pod)["epochs"]["1"]["treatment"]["units"] == 2


def test_late_and_future_outcomes_are_letters_of_their_experiment(pod: Ingest) -> None:
    pod.send(order("late", "1", 1, "2026-01-01T00:00:00Z"), order("ahead", "1", 1, "2100-01-01T00:00:00Z"))
    pod.settled()
    told = {(letter["reason"], letter["view"], letter["event"]["id"]) for letter in pod.letters()}
    views = ("experiment/ranker-v2", "experiment/banner")
    assert told == {
        (*why, name) for name in views for why in (("late", "late"), ("future", "ahead"))
    } or told == {
        (reason, view, identity)
        for view in views
        for reason, identity in (("late", "late"), ("future", "ahead"))
    }
    before = sums_of(pod)
    replayed = pod.post("/v1/dead-letters/replay", json.dumps({"view": views[0]}).encode())
    assert replayed.json() == {"replayed": 2}
    pod.settled()
    assert len(pod.letters(view=views[0])) == 2, "they came for that experiment again, and are as late"
    assert len(pod.letters(view=views[1])) == 2
    assert sums_of(pod)["epochs"] == before["epochs"]


def test_a_key_that_is_not_ours_holds_up_no_other_unit(tmp_path: Path) -> None:
    """Somebody wrote where a state lies: that unit counts for nobody and its outcome is a letter, all else goes on."""
    with (
        redis_server(tmp_path / "redis") as server,
        server.client() as client,
        ingest(measured(server.url, views={}), tmp_path / "pod", environ=unit_key(tmp_path)) as pod,
    ):
        state, _, _ = keys_of(beginning_of(PREFIX, RANKER), hidden(UNIT_KEY.encode(), "1"))
        client.set(state, "mine")
        exposing(pod, exposure("1"), exposure("2", time_ms=now_ms() - 60_000))
        pod.send(order("a", "1", 5), order("b", "2", 5))
        found = settled_sums(pod)["epochs"]["1"]["treatment"]
        assert (found["units"], found["metrics"]["revenue"]["y"]) == (1, 5)
        (letter,) = pod.letters(reason="invalid")
        assert (letter["view"], letter["event"]["id"]) == ("experiment/ranker-v2", "a")
        assert client.get(state) == b"mine"
        client.delete(state)
        pod.post("/v1/dead-letters/replay", b"{}")
        exposing(pod, exposure("1", time_ms=now_ms() - 60_000))
        eventually(lambda: sums_of(pod)["epochs"]["1"]["treatment"]["metrics"]["revenue"]["y"] == 10)
