# SPDX-License-Identifier: Apache-2.0
"""Outcomes that wait for their exposure: bounded in number and in time, whoever never comes."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from experiment_shop import (
    EXPERIMENTS,
    RANKER,
    UNIT_KEY,
    cart,
    exposing,
    exposure,
    in_slices,
    measured,
    now_ms,
    order,
    settled_sums,
    unit_key,
)
from ingest_servers import PREFIX, Ingest, ingest
from redis_servers import RedisServer, redis_server

from endcap_runtime.features.experiments.measured import beginning_of, keys_of
from endcap_runtime.features.experiments.units import hidden

HEAD = struct.Struct("<qI")
MINUTE = 60_000
STATE, _, WAIT = keys_of(beginning_of(PREFIX, RANKER), hidden(UNIT_KEY.encode(), "1"))


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    with redis_server(tmp_path / "redis") as running:
        yield running


@pytest.fixture
def pod(server: RedisServer, tmp_path: Path) -> Iterator[Ingest]:
    config = measured(server.url, {"ranker-v2": EXPERIMENTS["ranker-v2"]}, {})
    with ingest(config, tmp_path / "pod", environ=unit_key(tmp_path)) as running:
        yield running


def revenue(pod: Ingest) -> Any:
    return settled_sums(pod)["epochs"]["1"]["treatment"]["metrics"]["revenue"]["y"]


def test_of_one_unit_the_newest_wait(pod: Ingest, server: RedisServer) -> None:
    """A robot that is never exposed does not fill the store, and slows nobody."""
    count = 1500
    for part in in_slices([order(f"o{n}", "1", n) for n in range(count)], 500):
        pod.send(*part)
    settled_sums(pod)
    with server.client() as client:
        records = client.get(WAIT)
    waiting = kept_since(records)
    assert len(records) < 66_000
    assert 300 < len(waiting) < count
    exposing(pod, exposure("1", time_ms=now_ms() - MINUTE))
    newest = range(count - len(waiting), count)
    assert revenue(pod) == sum(newest)


def kept_since(records: bytes) -> list[int]:
    """When each began to wait."""
    found, at = [], 0
    while at < len(records):
        since, length = HEAD.unpack_from(records, at)
        found.append(since)
        at += HEAD.size + length
    assert at == len(records)
    return found


def test_what_waited_for_too_long_goes_when_more_comes(pod: Ingest, server: RedisServer) -> None:
    pod.send(order("a", "1", 1), order("b", "1", 2))
    settled_sums(pod)
    with server.client() as client:
        records = client.get(WAIT)
        since, length = HEAD.unpack_from(records)
        assert now_ms() - 5 * MINUTE < since <= now_ms()
        client.set(WAIT, HEAD.pack(since - 21 * MINUTE, length) + records[HEAD.size :])
        pod.send(order("c", "1", 4))
        settled_sums(pod)
        assert len(kept_since(client.get(WAIT))) == 2
        assert 19 * MINUTE < client.pttl(WAIT) <= 20 * MINUTE
        exposing(pod, exposure("1", time_ms=now_ms() - MINUTE))
        assert revenue(pod) == 6
        assert not client.exists(WAIT)


def test_metrics_that_wait_together_are_joined_by_their_own_windows(pod: Ingest, server: RedisServer) -> None:
    """An exposure that is told two hours late: past the window of one metric, within that of the others."""
    pod.send(cart("c", "1"), order("o", "1", 3))
    settled_sums(pod)
    exposing(pod, exposure("1", time_ms=now_ms() - 120 * MINUTE))
    metrics = settled_sums(pod)["epochs"]["1"]["treatment"]["metrics"]
    assert {name: each["y"] for name, each in metrics.items()} == {
        "add-to-cart": 1,
        "revenue": 0,
        "basket-value": 3,
    }
    with server.client() as client:
        assert client.hgetall(STATE)[b"y|basket-value"] == b"3"
