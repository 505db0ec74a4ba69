# SPDX-License-Identifier: Apache-2.0
"""More than may wait, and a Redis that was away: how long until all is as it should be."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from ingest_servers import ROOT, Ingest, event, features, ingest
from ingest_totals import history, stored, totals
from redis_servers import RedisServer, redis_server

BACK_SECONDS = 50.0  # ten times what it is to be


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    with redis_server(tmp_path / "redis", appendonly="yes", appendfsync="no") as running:
        yield running


def test_the_command_waits_as_it_is_told_until_a_full_store_takes_all(
    server: RedisServer, tmp_path: Path
) -> None:
    """Two commands at once against a limit that holds one batch of either."""
    sent = [history("a", 2500, 1), history("b", 2500, 2)]
    with ingest(features(server.url, maxBacklog=600), tmp_path / "pod") as pod, server.client() as client:
        commands = [_sending(pod, tmp_path / f"{n}.jsonl", events) for n, events in enumerate(sent)]
        for command in commands:
            said, complained = command.communicate(timeout=120)
            assert said == b"2500 accepted, 0 refused\n", complained
        pod.settled()
        assert stored(client) == totals([*sent[0], *sent[1]])
        busy = [
            line for line in httpx.get(f"{pod.url}/metrics").text.splitlines() if 'outcome="busy"' in line
        ]
        assert busy, "it was never full"


def _sending(pod: Ingest, file: Path, events: list[dict[str, object]]) -> subprocess.Popen[bytes]:
    file.write_text("".join(json.dumps(given) + "\n" for given in events))
    command = [sys.executable, "-m", "endcap_cli", "events", "send", str(file), "--url", pod.url]
    path = f"{ROOT / 'api'}:{ROOT / 'cli'}:{ROOT / 'runtimes'}"
    environ = {**os.environ, "PYTHONPATH": path}
    return subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


@pytest.mark.parametrize("gone", ["killed", "standing still"])
def test_soon_after_redis_answers_again_events_are_taken_and_applied(
    server: RedisServer, tmp_path: Path, gone: str
) -> None:
    with ingest(features(server.url), tmp_path / "pod") as pod:
        pod.send(event("before", customer_id="1")).raise_for_status()
        pod.settled()
        server.kill() if gone == "killed" else server.pause()
        begun = time.monotonic()
        while time.monotonic() - begun < 3:  # long enough for every pause to have reached its longest
            assert pod.send(event("before", customer_id="1")).status_code == 503
            time.sleep(0.05)
        server.start() if gone == "killed" else server.resume()
        begun = time.monotonic()
        while pod.send(event("after", customer_id="1")).status_code != 202:
            assert time.monotonic() - begun < BACK_SECONDS
            time.sleep(0.05)
        pod.settled(BACK_SECONDS)
        with server.client() as client:
            assert stored(client)["clicks_1h"]["1"] == 2
