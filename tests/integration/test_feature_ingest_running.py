# SPDX-License-Identifier: Apache-2.0
"""Ingest in everyday life: full, without its Redis, with several pods, with a new configuration, and restarted."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from ingest_servers import (
    BATCH,
    PREFIX,
    VIEWS,
    Ingest,
    activity,
    all_sent,
    event,
    eventually,
    features,
    ingest,
    popularity,
    start,
)
from ingest_totals import compiled, history, stored, totals
from model_servers import wait_ready
from redis_servers import RedisServer, redis_server

EVENTS = f"{PREFIX}:events"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    with redis_server(tmp_path / "redis", appendonly="yes", appendfsync="no") as running:
        yield running


@pytest.fixture
def pod(server: RedisServer, tmp_path: Path) -> Iterator[Ingest]:
    with ingest(features(server.url), tmp_path / "pod") as running:
        yield running


def test_what_is_more_than_may_wait_is_told_so_and_nothing_accepted_is_lost(
    server: RedisServer, tmp_path: Path
) -> None:
    """Eight producers against a limit of 300: each batch is taken whole or answered 429."""
    config = features(server.url, maxBacklog=300)
    sent = history("a", 4000, 5)
    accepted: list[dict[str, Any]] = []
    codes: list[int] = []

    def produce(part: int, pod: Ingest) -> None:
        for begin in range(part * 500, part * 500 + 500, 100):
            batch = sent[begin : begin + 100]
            answer = pod.post("/v1/events", json.dumps(batch).encode(), BATCH)
            codes.append(answer.status_code)
            if answer.status_code == 202:
                accepted.extend(batch)
            else:
                assert int(answer.headers["retry-after"]) >= 1

    with ingest(config, tmp_path / "pod") as pod:
        threads = [threading.Thread(target=produce, args=(part, pod)) for part in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        pod.settled()
        assert pod.post("/v1/events", json.dumps(history("b", 301, 6)).encode(), BATCH).status_code == 429
        with server.client() as client:
            assert stored(client) == totals(accepted)
            assert client.xlen(EVENTS) == 0
    assert {202, 429} == set(codes)


def test_without_redis_nothing_is_taken_and_it_comes_back_by_itself(pod: Ingest, server: RedisServer) -> None:
    sent = history("a", 100, 1)
    all_sent(pod, sent)
    pod.settled()
    server.kill()
    answer = pod.send(event("lost", customer_id="1"))
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    for path in ("/v1/views", "/v1/dead-letters", "/v1/served"):
        assert httpx.get(pod.url + path).status_code == 503
    assert pod.get("/livez") == {"live": True}
    assert pod.get("/readyz") == {"ready": True}, "who is not ready could not say 503 with Retry-After"
    server.start()
    more = history("b", 100, 2)
    all_sent(pod, more)
    pod.settled()
    with server.client() as client:
        assert stored(client) == totals([*sent, *more])


def test_a_redis_that_is_emptied_is_filled_again(pod: Ingest, server: RedisServer) -> None:
    """Group, functions and since when views are fed: whoever misses them makes them."""
    all_sent(pod, history("a", 50, 1))
    pod.settled()
    with server.client() as client:
        client.flushall()
        client.function_flush("SYNC")
        fresh = history("b", 50, 2)
        all_sent(pod, fresh)
        status = pod.settled()
        assert stored(client) == totals(fresh)
        assert status["views"]["activity"]["since_ms"] > 0


def test_redis_killed_under_load_loses_at_most_what_was_not_yet_on_its_disk(
    pod: Ingest, server: RedisServer
) -> None:
    """everysec: afterwards the store is the oracle of a prefix of what was accepted, plus all that came later.

    One producer sends one event at a time, so that what is accepted has an order.
    """
    sent: list[dict[str, Any]] = []
    until = time.monotonic() + 3
    while time.monotonic() < until:
        given = event(f"e{len(sent)}", customer_id="7")
        pod.send(given).raise_for_status()
        sent.append(given)
    accepted_a_second_ago = [given for given in sent if _age(given) > 2]
    server.kill()
    server.start()
    eventually(lambda: httpx.get(f"{pod.url}/v1/views").status_code == 200)
    pod.settled()
    with server.client() as client:
        kept = stored(client)["clicks_1h"]["7"]
        assert len(accepted_a_second_ago) <= kept <= len(sent)
        all_sent(pod, sent)
        pod.settled()
        assert stored(client) == totals(sent), "sent again, what was lost counts, and what was kept does not"


def _age(given: dict[str, Any]) -> float:
    return (datetime.now(UTC) - datetime.fromisoformat(given["time"])).total_seconds()


def test_two_pods_share_the_work_and_one_takes_over_what_the_other_left(
    server: RedisServer, tmp_path: Path
) -> None:
    sent = history("a", 4000, 1)
    config = features(server.url)
    with (
        server.client() as client,
        ingest(config, tmp_path / "one", "one") as one,
        ingest(config, tmp_path / "two", "two") as two,
    ):
        client.xreadgroup("endcap", "zombie", {EVENTS: ">"}, count=1)  # a third that took work and died
        all_sent(one, sent[:2000])
        client.xreadgroup("endcap", "zombie", {EVENTS: ">"}, count=50)
        all_sent(two, sent[2000:])
        one.settled()
        assert stored(client) == totals(sent)
        worked = [_metric(pod, "endcap_ingest_batch_events_sum") for pod in (one, two)]
        assert all(count > 0 for count in worked)
        assert sum(worked) >= 4000


def _metric(pod: Ingest, name: str) -> float:
    lines = httpx.get(f"{pod.url}/metrics").text.splitlines()
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(name))


def test_a_pod_that_is_ended_finishes_its_batch(server: RedisServer, tmp_path: Path) -> None:
    pod = start(features(server.url), tmp_path / "pod")
    wait_ready(pod)
    sent = history("a", 1000, 1)
    all_sent(pod, sent)
    assert pod.terminate() == 0
    with server.client() as client:
        assert client.xpending(EVENTS, "endcap")["pending"] == 0
        with ingest(features(server.url), tmp_path / "next", "next") as following:
            following.settled()
        assert stored(client) == totals(sent)


def test_letters_are_read_in_pages_and_replayed_by_reason_view_or_id(
    pod: Ingest, server: RedisServer
) -> None:
    old = (datetime.now(UTC) - timedelta(hours=2)).isoformat()
    pod.send(*(event(f"late-{n}", at=old, customer_id="1") for n in range(5)))
    pod.send(event("ahead", at="2100-01-01T00:00:00Z", customer_id="1"))
    pod.settled()
    first = pod.get("/v1/dead-letters", limit=4)
    rest = pod.get("/v1/dead-letters", limit=4, after=first["next"])
    assert [letter["event"]["id"] for letter in (*first["events"], *rest["events"])] == [
        *(f"late-{n}" for n in range(5)),
        "ahead",
    ]
    assert rest["next"] is None
    assert [letter["reason"] for letter in pod.letters(reason="future")] == ["future"]
    # The remedy: the view takes events of the last six hours, and they are sent round again.
    pod.configure(features(server.url, {**VIEWS, "activity": activity(source=_lateness("6h"))}))
    eventually(lambda: "revision" in pod.log.splitlines()[-1] and pod.log.count('"Serving"') == 2)
    one = json.dumps({"ids": [first["events"][0]["id"]]}).encode()
    assert pod.post("/v1/dead-letters/replay", one).json() == {"replayed": 1}
    assert pod.post("/v1/dead-letters/replay", one).json() == {"replayed": 0}
    assert pod.post("/v1/dead-letters/replay", b'{"reason": "late"}').json() == {"replayed": 4}
    status = pod.settled()
    assert status["views"]["activity"]["applied"] == 5
    assert [letter["reason"] for letter in pod.letters()] == ["future"]
    assert pod.post("/v1/dead-letters/replay", b'{"view": "popularity"}').json() == {"replayed": 0}


def _lateness(span: str) -> dict[str, Any]:
    return {"stream": {"lateness": span}}


def test_a_letter_of_one_view_goes_back_to_that_view_alone(pod: Ingest, server: RedisServer) -> None:
    """The other view had the event, long enough ago to have forgotten its id."""
    config = {**VIEWS, "activity": activity(source=_lateness("1m"))}
    pod.configure(features(server.url, config))
    eventually(lambda: pod.log.count('"Serving"') == 2)
    ago = (datetime.now(UTC) - timedelta(minutes=30)).isoformat()
    pod.send(event("p1", "purchase", ago, customer_id="1", product_id=1, amount=2, store="a"))
    pod.settled()
    (letter,) = pod.letters()
    assert (letter["reason"], letter["view"]) == ("late", "activity")
    with server.client() as client:
        for key in client.scan_iter(f"{PREFIX}:seen:*"):
            client.delete(key)
        pod.post("/v1/dead-letters/replay", b"{}")
        status = pod.settled()
        assert stored(client)["sold_1h"][1] == 1
    assert status["views"]["popularity"]["applied"] == 1


def test_what_waited_longer_than_a_week_is_expired(server: RedisServer, tmp_path: Path) -> None:
    week_ago = int((time.time() - 8 * 24 * 3600) * 1000)
    with server.client() as client:
        given = event("old", at=datetime.fromtimestamp(week_ago / 1000, UTC).isoformat(), customer_id="1")
        client.xadd(EVENTS, {"e": json.dumps(given)}, id=f"{week_ago}-0")
        with ingest(features(server.url), tmp_path / "pod") as pod:
            pod.settled()
            (letter,) = pod.letters()
            assert (letter["reason"], letter["event"]["id"]) == ("expired", "old")
            assert letter["arrival"] == datetime.fromtimestamp(week_ago / 1000, UTC).isoformat(
                timespec="milliseconds"
            ).replace("+00:00", "Z")
        assert client.get(compiled("activity").key(["1"])) is None


def test_of_the_letters_the_newest_are_kept(server: RedisServer, tmp_path: Path) -> None:
    with ingest(features(server.url, deadLetters=100), tmp_path / "pod") as pod:
        for part in range(10):
            pod.send(*(event(f"{part}-{n}", at="2026-01-01T00:00:00Z", customer_id="1") for n in range(100)))
        assert pod.settled()["dead_letters"] <= 200, "Redis trims by whole nodes of a hundred"
        assert pod.letters(limit=1000)[-1]["event"]["id"] == "9-99"


def test_a_new_configuration_takes_over_and_a_bad_one_does_not(pod: Ingest, server: RedisServer) -> None:
    before = pod.get("/-/revision")
    assert before["rejected"] is None
    pod.configure({"namespace": "shop"})
    rejected = eventually(lambda: pod.get("/-/revision")["rejected"])
    assert rejected["reason"] == "InvalidSpec"
    assert "stores" in rejected["message"]
    assert pod.send(event("still", customer_id="1")).status_code == 202
    search = activity()["features"][0] | {"name": "searches", "event": "search"}
    pod.configure(features(server.url, {**VIEWS, "search": activity(features=[search])}))
    eventually(lambda: pod.get("/-/revision")["serving"] != before["serving"])
    assert pod.get("/-/revision")["rejected"] is None
    assert pod.send(event("s", "search", customer_id="1")).status_code == 202
    pod.configure(features(server.url, {"popularity": popularity()}))
    eventually(lambda: pod.send(event("c", "click", customer_id="1")).status_code == 422)


def test_what_waits_for_a_view_that_changed_is_judged_by_the_new_one(
    pod: Ingest, server: RedisServer
) -> None:
    """What it refuses is invalid; its type that nobody reads any more, too."""
    pod.configure(features(server.url, {"popularity": popularity()}))
    eventually(lambda: pod.log.count('"Serving"') == 2)
    with server.client() as client:
        client.xadd(EVENTS, {"e": json.dumps(event("c", customer_id="1"))})
    pod.settled()
    (letter,) = pod.letters()
    assert letter["reason"] == "invalid"
    assert "no view reads" in letter["message"]


def test_ids_of_minutes_that_nothing_can_fall_into_are_forgotten(server: RedisServer, tmp_path: Path) -> None:
    """A view of a lateness of one minute: ids go once no worker that stood still can come back to them either."""
    views = {"activity": activity(source=_lateness("1m"))}
    with server.client() as client, ingest(features(server.url, views), tmp_path / "pod") as pod:
        pod.send(event("fresh", customer_id="1"))
        pod.settled()
        (fresh,) = client.scan_iter(f"{PREFIX}:seen:*")
        head, minute = fresh.rsplit(b"}", 1)
        past, recent = (head + b"}%d" % (int(minute) - age) for age in (15, 5))
        client.sadd(past, 1)
        client.sadd(recent, 1)
        for field in client.hkeys(f"{PREFIX}:forgotten"):
            client.hset(f"{PREFIX}:forgotten", field, int(minute) - 20)
        pod.configure(features(server.url, views, maxLagMs=20_000))  # a new revision is cleaned at once
        eventually(lambda: not client.exists(past))
        assert client.exists(fresh, recent) == 2


def test_the_serving_log_is_read_by_request(pod: Ingest, server: RedisServer) -> None:
    with server.client() as client:
        for name in ("r1", "r2"):
            client.xadd(f"{PREFIX}:served", {"r": name, "v": json.dumps({"columns": {"clicks": [1]}})})
    (record,) = pod.get("/v1/served", request_id="r2")["served"]
    assert record["request_id"] == "r2"
    assert record["record"] == {"columns": {"clicks": [1]}}
    assert len(pod.get("/v1/served", limit=1)["served"]) == 1


def test_what_is_not_there_says_so(pod: Ingest) -> None:
    for path, status in {
        "/v1/dead-letters?reason=bad": 422,
        "/v1/dead-letters?after=x": 422,
        "/v1/dead-letters?limit=0": 422,
        "/v1/dead-letters?limit=1&limit=2": 422,
        "/v1/dead-letters?why=late": 422,
        "/v1/views?view=activity": 422,
        "/v1/events": 405,
        "/v1/dead-letters/": 404,
        "/v1/%65vents": 404,
    }.items():
        assert httpx.get(pod.url + path).status_code == status, path


def test_metrics_say_how_far_ingest_is(pod: Ingest) -> None:
    pod.send(event("a", customer_id="1"), event("b", at="2026-01-01T00:00:00Z", customer_id="1"))
    pod.send(event("bad"))
    pod.settled()
    eventually(lambda: _metric(pod, 'endcap_ingest_dead_letters_total{reason="late"}') == 1)
    assert _metric(pod, 'endcap_ingest_events_total{outcome="accepted"}') == 2
    assert _metric(pod, 'endcap_ingest_events_total{outcome="refused"}') == 1
    assert _metric(pod, 'endcap_ingest_applied_total{outcome="applied",view="activity"}') == 1
    assert _metric(pod, "endcap_ingest_visible_seconds_count") == 2
