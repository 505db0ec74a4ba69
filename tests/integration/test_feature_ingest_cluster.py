# SPDX-License-Identifier: Apache-2.0
"""Ingest on a Redis Cluster of three: the same answers, also while slots move from node to node."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from ingest_servers import PREFIX, Ingest, all_sent, event, features, ingest
from ingest_totals import CUSTOMERS, compiled, history, stored, totals
from redis.crc import key_slot
from redis_servers import RedisCluster, moved_around, redis_cluster

EVENTS = f"{PREFIX}:events"


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[RedisCluster]:
    with redis_cluster(tmp_path / "redis") as running:
        yield running


@pytest.fixture
def pod(cluster: RedisCluster, tmp_path: Path) -> Iterator[Ingest]:
    with ingest(features(cluster.url, cluster=True), tmp_path / "pod") as running:
        yield running


def test_a_cluster_gives_the_same_answers(pod: Ingest, cluster: RedisCluster) -> None:
    sent = history("a", 600, 1)
    all_sent(pod, [*sent, *sent[:100], event("late", at="2026-01-01T00:00:00Z", customer_id="1")])
    status = pod.settled()
    with cluster.client() as client:
        assert stored(client) == totals(sent)
    assert (status["views"]["activity"]["applied"], status["views"]["activity"]["duplicate"]) == (600, 100)
    (letter,) = pod.letters()
    replayed = pod.post("/v1/dead-letters/replay", f'{{"ids": ["{letter["id"]}"]}}'.encode())
    assert replayed.json() == {"replayed": 1}
    assert pod.settled()["dead_letters"] == 1


def test_slots_that_move_under_load_lose_nothing_and_count_nothing_twice(
    pod: Ingest, cluster: RedisCluster
) -> None:
    """The slots of the customers' states, and that of the stream itself, there and back again."""
    sent = history("a", 6000, 2)
    moved = {key_slot(compiled("activity").key([str(n)])) for n in range(CUSTOMERS)} | {
        key_slot(EVENTS.encode())
    }
    done = threading.Event()

    def produce() -> None:
        for start in range(0, len(sent), 100):
            all_sent(pod, sent[max(0, start - 20) : start + 100])
        done.set()

    producer = threading.Thread(target=produce)
    producer.start()
    try:
        moves = moved_around(cluster, moved, done)
    finally:
        producer.join(60)
    pod.settled(60)
    with cluster.client() as client:
        assert stored(client) == totals(sent)
    assert moves >= len(moved)
