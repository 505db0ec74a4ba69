# SPDX-License-Identifier: Apache-2.0
"""Exposures and outcomes in over HTTP, sums out: a real pod on a real Redis."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from experiment_shop import RANKER, cart, exposing, exposure, measured, order, settled_sums, unit_key
from ingest_servers import Ingest, ingest
from redis_servers import RedisServer, redis_server


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    with redis_server(tmp_path / "redis") as running:
        yield running


@pytest.fixture
def pod(server: RedisServer, tmp_path: Path) -> Iterator[Ingest]:
    with ingest(measured(server.url), tmp_path / "pod", environ=unit_key(tmp_path)) as running:
        yield running


def test_outcomes_count_for_the_variant_that_their_unit_met(pod: Ingest) -> None:
    answer = exposing(
        pod,
        exposure("1", "treatment", covariates={"revenue": 2.0}),
        exposure("2", "treatment", served="control"),
        exposure("3", "control", covariates={"revenue": 3.0}),
    )
    assert (answer.status_code, answer.json()) == (202, {"accepted": 3})
    pod.send(cart("c1", "1"), cart("c2", "1"), order("o1", 1, 10.5), order("o2", "3", 2), order("o3", "9", 5))
    found = settled_sums(pod)
    treatment, control = found["epochs"]["1"]["treatment"], found["epochs"]["1"]["control"]
    assert (treatment["units"], treatment["fallback"], treatment["crossed"]) == (2, 1, 0)
    assert (control["units"], control["fallback"]) == (1, 0)
    assert (treatment["metrics"]["add-to-cart"]["y"], treatment["metrics"]["add-to-cart"]["yy"]) == (1, 1)
    assert treatment["metrics"]["revenue"] == {
        "y": 10.5, "yy": 110.25, "x": 2.0, "xx": 4.0, "xy": 21.0, "d": 0, "dd": 0, "yd": 0,
    }  # fmt: skip
    ratio = control["metrics"]["basket-value"]
    assert (ratio["y"], ratio["d"], ratio["dd"], ratio["yd"]) == (2, 1, 1, 2)
    assert found["newestMs"] is not None
    assert pod.get("/v1/experiments")["experiments"]["ranker-v2"] == RANKER
