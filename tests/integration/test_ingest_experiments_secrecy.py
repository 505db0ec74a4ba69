# SPDX-License-Identifier: Apache-2.0
"""The unit of an exposure is nowhere but in the request: not in Redis, not in a log, not on a page.

An event keeps its data, and so its unit, while it waits and where it became a dead letter; what is counted does not.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from experiment_shop import (
    RANKER,
    UNIT_KEY,
    cart,
    exposing,
    exposure,
    measured,
    order,
    settled_sums,
    unit_key,
)
from ingest_servers import PREFIX, Ingest, ingest
from redis_contents import contents
from redis_servers import RedisServer, redis_server

CANARY = "Kanarienvogel 4711"  # fits no field but those of free text
TEXTS = ("unit", "request_id", "model", "digest")
PAGES = (
    "/v1/experiments",
    f"/v1/experiments/{RANKER}",
    "/v1/exposures",
    "/v1/views",
    "/v1/dead-letters",
    "/metrics",
)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    with redis_server(tmp_path / "redis", appendonly="yes", appendfsync="no") as running:
        yield running


@pytest.fixture
def pod(server: RedisServer, tmp_path: Path) -> Iterator[Ingest]:
    with ingest(measured(server.url, views={}), tmp_path / "pod", environ=unit_key(tmp_path)) as running:
        yield running


def everywhere(pod: Ingest, server: RedisServer) -> dict[str, str]:
    with server.client() as client:
        redis = repr(contents(client))
    pages = "".join(httpx.get(pod.url + page).text for page in PAGES)
    return {"redis": redis, "pages": pages, "log": pod.log}


def test_a_unit_is_nowhere(pod: Ingest, server: RedisServer) -> None:
    """Exposed, exposed again, crossed, forced, with outcomes before and after, late, and counted twice."""
    told = exposure(CANARY, covariates={"revenue": 1.0})
    pod.send(order("before", CANARY, 3))
    settled_sums(pod)
    assert CANARY not in everywhere(pod, server)["redis"], "an outcome waits without its unit"
    exposing(
        pod, told, told, {**told, "variant": "control"}, {**told, "reason": "forced", "in_analysis": False}
    )
    pod.send(cart("c", CANARY), cart("c", CANARY), order("o", CANARY, 2))
    assert settled_sums(pod)["epochs"]["1"]["treatment"]["units"] == 1
    for place, text in everywhere(pod, server).items():
        assert CANARY not in text, place
        assert UNIT_KEY not in text, place
    aof = b"".join(file.read_bytes() for file in (server.folder / "appendonlydir").iterdir())
    told_by_events = [line for line in aof.splitlines() if CANARY.encode() in line]
    assert all(b"specversion" in line for line in told_by_events), "the events alone, as they were sent"


def test_a_refusal_repeats_no_value(pod: Ingest, server: RedisServer) -> None:
    """Wherever a graph put a unit by mistake, a refusal does not hand it on to logs."""
    values: list[Any] = [
        CANARY,
        [CANARY],
        {CANARY: CANARY},
        {"revenue": CANARY},
        [{"product": CANARY}],
        {CANARY: 1},
    ]
    for field in exposure("1"):
        for value in values:
            if field in TEXTS and value == CANARY:
                continue
            answer = exposing(pod, {**exposure("1"), field: value})
            assert answer.status_code == 422, (field, value, answer.text)
            assert CANARY not in answer.text, (field, value)
    assert CANARY not in exposing(pod, {**exposure("1"), CANARY: 1}).text
    assert all(CANARY not in text for text in everywhere(pod, server).values())


def test_a_body_that_is_no_exposure_is_not_repeated(pod: Ingest, server: RedisServer) -> None:
    bodies: list[Any] = [
        CANARY,
        [CANARY],
        {"exposures": CANARY},
        {"exposures": [CANARY, {CANARY: 1}]},
        {CANARY: []},
    ]
    for body in bodies:
        pod.post("/v1/exposures", json.dumps(body).encode())
        pod.post("/v1/exposures", json.dumps(body).encode()[:-1])
    assert all(CANARY not in text for text in everywhere(pod, server).values())


def test_a_state_that_cannot_be_changed_is_logged_without_its_unit(pod: Ingest, server: RedisServer) -> None:
    with server.client() as client:
        exposing(pod, exposure(CANARY))
        settled_sums(pod)
        (state,) = (
            key for key in client.scan_iter(f"{PREFIX}:exp:{RANKER}{{*") if client.type(key) == b"hash"
        )
        client.delete(state)
        client.set(state, "foreign")
        exposing(pod, exposure(CANARY))
        settled_sums(pod)
    assert "cannot be changed" in pod.log
    assert CANARY not in pod.log
