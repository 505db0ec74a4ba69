# SPDX-License-Identifier: Apache-2.0
"""Experiments on a Redis Cluster of three: the same sums, also while slots move from node to node."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from random import Random

import pytest
from experiment_histories import history
from experiment_oracle import Came, assert_same, sums
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
from experiment_streams import enqueue
from ingest_servers import PREFIX, Ingest, all_sent, ingest
from redis.crc import key_slot
from redis_servers import RedisCluster, moved_around, redis_cluster

from endcap_runtime.features.experiments.measured import beginning_of, keys_of
from endcap_runtime.features.experiments.units import hidden

UNITS = 60


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[RedisCluster]:
    with redis_cluster(tmp_path / "redis") as running:
        yield running


@pytest.fixture
def pod(cluster: RedisCluster, tmp_path: Path) -> Iterator[Ingest]:
    config = measured(cluster.url, views={}, cluster=True)
    with ingest(config, tmp_path / "pod", environ=unit_key(tmp_path)) as running:
        yield running


def test_a_cluster_has_the_same_sums(pod: Ingest, cluster: RedisCluster) -> None:
    drawn = history(Random(5), "u", int(time.time() * 1000) - 3 * 86_400_000, 300)  # noqa: S311 the same each time
    with cluster.client() as client:
        enqueue(client, drawn)
    for experiment in EXPERIMENTS.values():
        found = settled_sums(pod, experiment["id"])
        assert_same(found["epochs"], sums(experiment, drawn.exposures, drawn.events))
    log = pod.get("/v1/exposures", limit=1000)["exposures"]
    assert len(log) == len(drawn.exposures)


def test_slots_that_move_under_load_lose_nothing_and_count_nothing_twice(
    pod: Ingest, cluster: RedisCluster
) -> None:
    """The slots of some units' states and sums, and that of the log of exposures itself, there and back again."""
    exposures = [
        exposure(f"u{n}", ("control", "treatment")[n % 2], time_ms=now_ms() - 9_000) for n in range(UNITS)
    ]
    events = [
        each
        for n in range(UNITS * 20)
        for each in (cart(f"c{n}", f"u{n % UNITS}"), order(f"o{n}", f"u{n % UNITS}", n % 7 + 0.25))
    ]
    keys = [keys_of(beginning_of(PREFIX, RANKER), hidden(UNIT_KEY.encode(), f"u{n}"))[0] for n in range(6)]
    moved = {key_slot(key) for key in (*keys, f"{PREFIX}:exposures".encode(), f"{PREFIX}:events".encode())}
    done = threading.Event()

    def produce() -> None:
        told = in_slices(exposures, 2)
        for sent, part in enumerate(in_slices(events, 80)):
            for few in told[sent :: len(events) // 80]:
                exposed_at_last(pod, *few)
            all_sent(pod, [*part, *part[:10]])
        done.set()

    producer = threading.Thread(target=produce)
    producer.start()
    try:
        moves = moved_around(cluster, moved, done)
    finally:
        producer.join(60)
    found = settled_sums(pod, seconds=60)
    came = [Came(now_ms(), each) for each in events]
    assert_same(found["epochs"], sums(EXPERIMENTS["ranker-v2"], [Came(now_ms(), e) for e in exposures], came))
    assert moves >= len(moved)


def exposed_at_last(pod: Ingest, *exposures: dict[str, object]) -> None:
    until = time.monotonic() + 30
    while (answer := exposing(pod, *exposures)).status_code != 202:
        assert answer.status_code == 503, answer.text
        assert time.monotonic() < until
        time.sleep(0.05)


def test_parts_of_the_store_are_read_together(pod: Ingest, cluster: RedisCluster) -> None:
    """Sixty-four hashes in a call a node, not one after the other."""
    exposing(pod, *(exposure(str(n)) for n in range(200)))
    assert settled_sums(pod)["epochs"]["1"]["treatment"]["units"] == 200
    with cluster.client() as client:
        held = [
            client.hget(key, "units|1|treatment") for key in client.scan_iter(f"{PREFIX}:exp:{RANKER}:sums*")
        ]
    assert len(held) > 40
    assert sum(map(int, chain(held))) == 200
