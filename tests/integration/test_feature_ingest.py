# SPDX-License-Identifier: Apache-2.0
"""Events in over HTTP, features out of Redis: a real pod on a real Redis."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cloudevents.core.bindings.http import to_binary_event, to_structured_event
from cloudevents.core.v1.event import CloudEvent
from ingest_servers import Ingest, activity, event, features, ingest, profile
from ingest_totals import history, stored, totals
from redis_servers import RedisServer, redis_server


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    with redis_server(tmp_path / "redis") as running:
        yield running


@pytest.fixture
def pod(server: RedisServer, tmp_path: Path) -> Iterator[Ingest]:
    with ingest(features(server.url), tmp_path / "pod") as running:
        yield running


def test_events_are_counted_once_in_all_views_that_read_them(pod: Ingest, server: RedisServer) -> None:
    sent = history("a", 400, 1)
    assert pod.send(*sent[:200]).json() == {"accepted": 200}
    assert pod.send(*sent[100:]).json() == {"accepted": 300}
    assert pod.send(sent[0]).json() == {"accepted": 1}
    status = pod.settled()
    with server.client() as client:
        assert stored(client) == totals(sent)
    views = status["views"]
    assert (views["activity"]["applied"], views["activity"]["duplicate"]) == (400, 101)
    assert views["popularity"]["applied"] == sum(given["type"] == "purchase" for given in sent)
    assert status["dead_letters"] == 0


def test_late_and_future_events_become_dead_letters_a_view(pod: Ingest) -> None:
    pod.send(
        event("late", "purchase", "2026-01-01T00:00:00Z", customer_id="1", product_id=1, amount=1, store="a")
    )
    pod.send(event("future", "click", "2100-01-01T00:00:00Z", customer_id="1"))
    status = pod.settled()
    letters = pod.letters()
    assert [(letter["reason"], letter["view"], letter["event"]["id"]) for letter in letters] == [
        ("late", "activity", "late"),
        ("late", "popularity", "late"),
        ("future", "activity", "future"),
    ]
    assert status["dead_letters"] == 3
    assert (status["views"]["activity"]["late"], status["views"]["activity"]["future"]) == (1, 1)


def test_a_client_with_the_sdk_is_understood_in_both_modes(pod: Ingest, server: RedisServer) -> None:
    """The same event in both modes is one event."""
    attributes = {
        "specversion": "1.0",
        "id": "bon-7 ü",
        "source": "/kasse/3",
        "type": "purchase",
        "time": datetime.now(UTC),
        "datacontenttype": "application/json",
        "till": "3",
    }
    data = {"customer_id": "1", "product_id": 2, "amount": 4.5, "store": "a"}
    for write in (to_structured_event, to_binary_event):
        message = write(CloudEvent(attributes, data))
        headers = {name.lower(): value for name, value in message.headers.items()}
        kind = headers.pop("content-type")
        answer = pod.post("/v1/events", message.body, kind, **headers)
        assert (answer.status_code, answer.json()) == (202, {"accepted": 1}), answer.text
    pod.settled()
    with server.client() as client:
        found = stored(client)
    assert (found["spend_1h"]["1"], found["sold_1h"][2]) == (4.5, 1)


def test_binary_mode_is_held_to_the_same(pod: Ingest) -> None:
    headers = {"ce-specversion": "1.0", "ce-id": "", "ce-source": "/tests", "ce-type": "click"}
    answer = pod.post("/v1/events", b'{"customer_id": "1"}', "application/json", **headers)
    assert answer.status_code == 422
    assert [fault["field"] for fault in answer.json()["errors"]] == ["events[0].id", "events[0].time"]
    assert pod.post("/v1/events", b"{}", "application/json").status_code == 422


def test_an_event_of_a_type_that_nobody_reads_is_told_which_are_read(
    server: RedisServer, tmp_path: Path
) -> None:
    """Of a near name, that one; else the first ten, so that a store of hundreds still answers in a line."""
    many = [f"sale-{number:02}" for number in range(12)]
    counted = [{**activity()["features"][0], "name": f"n{n}", "event": kind} for n, kind in enumerate(many)]
    cases = (
        ({"activity": activity()}, "the types that are read are click, purchase; name others"),
        ({"activity": activity(features=counted)}, f"the types that are read are {', '.join(many[:10])}, …;"),
        ({"profile": profile()}, "name it in a feature of a FeatureView or a metric of an Experiment"),
    )
    for number, (views, listed) in enumerate(cases):
        with ingest(features(server.url, views), tmp_path / f"pod-{number}") as pod:
            answer = pod.send(event("e1", kind="Überweisung", customer_id="1"))
        assert answer.status_code == 422
        (fault,) = answer.json()["errors"]
        assert fault["field"] == "events[0].type"
        assert listed in fault["message"]
