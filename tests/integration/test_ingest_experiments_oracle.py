# SPDX-License-Identifier: Apache-2.0
"""Sums against an oracle that counts each unit by hand, over random histories and real pods; single and cluster."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from itertools import count
from random import Random
from typing import Any

import pytest
from experiment_histories import History, history
from experiment_oracle import assert_same, sums
from experiment_shop import EXPERIMENTS, UNIT_KEY, measured, settled_sums, unit_key
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from ingest_servers import PREFIX, Ingest, eventually, ingest
from redis_servers import redis_server

from endcap_runtime.features.experiments.exposures import kept

EVENTS, EXPOSURES = f"{PREFIX}:events", f"{PREFIX}:exposures"
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


def enqueue(client: Any, drawn: History, parts: int = 1) -> None:
    """As if they had arrived then; of several parts, events and exposures by turns."""
    for part in range(parts):
        for stream, all_that_came in ((EVENTS, drawn.events), (EXPOSURES, drawn.exposures)):
            size = -(-len(all_that_came) // parts)
            for number, came in enumerate(all_that_came[part * size : (part + 1) * size]):
                value = came.value if stream == EVENTS else kept(came.value, UNIT_KEY.encode())
                client.xadd(stream, {"e": json.dumps(value)}, id=f"{came.arrival}-{part * size + number + 1}")


def forget(client: Any) -> None:
    """All that was counted, and where the streams are: the next history begins at the same time."""
    if keys := list(client.scan_iter(f"{PREFIX}:exp:*", count=10_000)):
        client.delete(*keys)
    with client.pipeline() as transaction:
        for stream in (EVENTS, EXPOSURES):
            transaction.xtrim(stream, maxlen=0, approximate=False)
            transaction.execute_command("XSETID", stream, "0-1", "ENTRIESADDED", 0, "MAXDELETEDID", "0-0")
            transaction.xgroup_setid(stream, "endcap", 0)
        transaction.execute()


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
    forget(client)
    drawn = history(Random(seed), f"u{next(_runs)}", START, length)  # noqa: S311 a failure names its seed
    enqueue(client, drawn, parts)
    check(pod, drawn)
