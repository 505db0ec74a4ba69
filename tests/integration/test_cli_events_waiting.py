# SPDX-License-Identifier: Apache-2.0
"""`endcap events send --wait` against a store in which an event lies for some seconds: a pod that died held it."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from ingest_servers import PREFIX, Ingest, event, features, ingest
from redis_servers import RedisServer, redis_server

from endcap_cli.__main__ import main
from endcap_cli.events import send

BLOCKED_SECONDS = 0.6  # longer than a worker's read waits in Redis
EVENTS, GROUP = f"{PREFIX}:events", "endcap"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    with redis_server(tmp_path / "redis") as running:
        yield running


@pytest.fixture
def pod(server: RedisServer, tmp_path: Path) -> Iterator[Ingest]:
    """Another pod was given an event and is gone: this one takes it over when it has lain for 5 s."""
    with ingest(features(server.url), tmp_path / "pod") as running:
        running.send(event("first", customer_id="1"))
        running.settled()
        running.process.send_signal(signal.SIGSTOP)
        time.sleep(BLOCKED_SECONDS)
        with server.client() as client:
            client.xadd(EVENTS, {"e": json.dumps(event("held", customer_id="1"))})
            assert client.xreadgroup(GROUP, "gone", {EVENTS: ">"})
        running.process.send_signal(signal.SIGCONT)
        yield running


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "events.jsonl"
    path.write_text(json.dumps(event("second", customer_id="1")) + "\n")
    return path


def test_it_ends_when_nothing_waits_any_more(
    pod: Ingest, file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["events", "send", str(file), "--wait", "--url", pod.url]) == 0
    assert capsys.readouterr().out == "1 accepted, 0 refused\n"
    status = pod.get("/v1/views")
    assert (status["backlog"], status["views"]["activity"]["applied"]) == (0, 3)


def test_it_ends_after_a_while_and_says_that_events_still_wait(
    pod: Ingest, file: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(send, "SETTLE_SECONDS", 0.5)
    assert main(["events", "send", str(file), "--wait", "--url", pod.url]) == 1
    out, said = capsys.readouterr()
    assert out == "1 accepted, 0 refused\n"
    assert "1 event still wait to be applied after 0.5 s: they will count later" in said
