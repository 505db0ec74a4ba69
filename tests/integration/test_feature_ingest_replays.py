# SPDX-License-Identifier: Apache-2.0
"""Dead letters that go back while their view is gone, or twice at once."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from ingest_servers import VIEWS, Ingest, activity, event, features, ingest, popularity
from ingest_totals import stored
from redis_servers import RedisServer, redis_server

REPLAY = "/v1/dead-letters/replay"
PATIENT = {**VIEWS, "activity": activity(source={"stream": {"lateness": "6h"}})}


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    with redis_server(tmp_path / "redis") as running:
        yield running


@pytest.fixture
def pod(server: RedisServer, tmp_path: Path) -> Iterator[Ingest]:
    """With 1,200 letters of events that came two hours late."""
    with ingest(features(server.url), tmp_path / "pod") as running:
        ago = (datetime.now(UTC) - timedelta(hours=2)).isoformat()
        for part in range(6):
            running.send(*(event(f"{part}-{n}", at=ago, customer_id="1") for n in range(200)))
        assert running.settled()["dead_letters"] == 1200
        yield running


def serve(pod: Ingest, server: RedisServer, views: dict[str, Any]) -> None:
    before = pod.get("/-/revision")["serving"]
    pod.configure(features(server.url, views))
    until = time.monotonic() + 20
    while pod.get("/-/revision")["serving"] == before:
        assert time.monotonic() < until, pod.log[-2000:]
        time.sleep(0.05)


def replayed(pod: Ingest, body: bytes = b"{}") -> int:
    answer = pod.post(REPLAY, body)
    assert answer.status_code == 200, answer.text
    return int(answer.json()["replayed"])


def test_replays_at_once_share_the_letters(pod: Ingest, server: RedisServer) -> None:
    serve(pod, server, PATIENT)
    with ThreadPoolExecutor(4) as threads:
        parts = list(threads.map(lambda _: replayed(pod), range(4)))
    assert sum(parts) == 1200
    status = pod.settled()
    told = status["views"]["activity"]
    assert (told["applied"], told["duplicate"], status["dead_letters"]) == (1200, 0, 0)


def test_what_was_applied_before_is_a_duplicate_when_its_letter_comes_back(
    pod: Ingest, server: RedisServer
) -> None:
    """The producer sent it again in the meantime, when the view already took it."""
    serve(pod, server, PATIENT)
    letter = pod.letters(limit=1)[0]
    pod.send(letter["event"]).raise_for_status()
    pod.settled()
    assert replayed(pod) == 1200
    told = pod.settled()["views"]["activity"]
    assert (told["applied"], told["duplicate"]) == (1200, 1)


def test_letters_of_a_view_that_is_gone_stay_letters_until_it_is_back(
    pod: Ingest, server: RedisServer
) -> None:
    serve(pod, server, {"popularity": popularity()})
    assert replayed(pod, b'{"view": "activity"}') == 1200
    assert pod.settled()["dead_letters"] == 1200
    letters = pod.letters(limit=1000)
    assert {(letter["reason"], letter["view"]) for letter in letters} == {("invalid", "activity")}
    serve(pod, server, PATIENT)
    assert replayed(pod, b'{"view": "activity"}') == 1200
    status = pod.settled()
    assert (status["views"]["activity"]["applied"], status["dead_letters"]) == (1200, 0)
    with server.client() as client:
        assert stored(client)["clicks_1h"]["1"] == 0, (
            "they are two hours old, and counted in no window of one"
        )
