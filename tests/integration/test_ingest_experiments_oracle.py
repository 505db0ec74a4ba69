# SPDX-License-Identifier: Apache-2.0
"""Sums against an oracle that counts each unit by hand, over random histories and real pods; single and cluster."""

from __future__ import annotations

import time
from collections.abc import Iterator
from itertools import count
from random import Random
from typing import Any

import pytest
from experiment_histories import History, history
from experiment_oracle import assert_same, sums
from experiment_shop import EXPERIMENTS, measured, settled_sums, unit_key
from experiment_streams import EVENTS, EXPOSURES, begin_anew, enqueue
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from ingest_servers import Ingest, eventually, ingest
from redis_servers import redis_server

START = int(time.time() * 1000) - 3 * 86_400_000
EXAMPLES = 40
_runs = count()


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Ingest, Any]]:
    work = tmp_path_factory.mktemp("shop")
    with (
        redis_server(work / "redis") as server,
        server.client() as client,
        ingest(measured(server.url, views={}), work / "pod", environ=unit_key(work)) as pod,
    ):
        eventually(lambda: client.exists(EVENTS, EXPOSURES) == 2)
        yield pod, client


def check(pod: Ingest, drawn: History) -> None:
    for experiment in EXPERIMENTS.values():
        found = settled_sums(pod, experiment["id"])
        assert_same(found["epochs"], sums(experiment, drawn.exposures, drawn.events))


@settings(
    max_examples=EXAMPLES, phases=[Phase.explicit, Phase.reuse, Phase.generate]
)  # a seed does not shrink
@given(st.integers(0, 1 << 32), st.integers(1, 120), st.integers(1, 3))
def test_random_histories(shop: tuple[Ingest, Any], seed: int, length: int, parts: int) -> None:
    pod, client = shop
    begin_anew(client)
    drawn = history(Random(seed), f"u{next(_runs)}", START, length)  # noqa: S311 a failure names its seed
    enqueue(client, drawn, parts)
    check(pod, drawn)
