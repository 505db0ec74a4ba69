# SPDX-License-Identifier: Apache-2.0
"""A variant that a request names itself: with the graph's key it gets it, without it is as if it had not asked."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from graphs import GraphServer
from model_servers import wait_ready
from tried_servers import begin, due, tried, weighted

from endcap_api.experiment_config import ServingPage
from endcap_runtime.graph.experiments import forcing

KEY = "s3cr3t-k3y-of-the-basket"
UNIT = "shopper-1"  # control
BODY = {"customer": UNIT}


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("keys")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, keys: Path) -> Iterator[GraphServer]:
    work = tmp_path_factory.mktemp("forcing")
    graph = tried(work, ranker_v2=weighted(5000), off=weighted(5000, enabled=False, id="0ff", salt="off"))
    running = begin(work, graph, {"ENDCAP_FORCE_DIR": str(keys)})
    try:
        wait_ready(running)
        yield running
    finally:
        running.process.kill()
        running.process.wait(10)


@pytest.fixture(autouse=True)
def key(keys: Path) -> Path:
    file = keys / "forceKey"
    file.write_text(f"{KEY}\n")
    return file


def ask(server: GraphServer, *headers: tuple[str, str]) -> httpx.Response:
    return httpx.post(f"{server.url}/basket", json=BODY, headers=list(headers))


def said(response: httpx.Response) -> dict[str, str]:
    assert response.status_code == 200, response.text
    found: dict[str, str] = response.json()["experiments"]["ranker-v2"]
    return found


def force(value: str, key: str = KEY) -> list[tuple[str, str]]:
    return [("endcap-force", value), ("endcap-force-key", key)]


ASSIGNED = {"variant": "control", "reason": "assigned"}
FORCED = {"variant": "treatment", "reason": "forced"}


def test_the_unit_of_these_tests_is_in_control() -> None:
    assert due(weighted(5000), UNIT) == "control"


def test_with_the_key_a_request_gets_what_it_names(server: GraphServer) -> None:
    response = ask(server, *force("ranker-v2=treatment"))
    assert said(response) == FORCED
    names = [each["product"] for each in response.json()["recommendations"]]
    assert names == ["Plastic cups", "Paper plates", "Ice cream"]
    assert response.headers["endcap-experiments"].startswith("ranker-v2=treatment;reason=forced")


@pytest.mark.parametrize(
    "headers",
    [
        [("endcap-force", "ranker-v2=treatment")],
        force("ranker-v2=treatment", "wrong"),
        force("ranker-v2=treatment", KEY[:-1]),
        force("ranker-v2=treatment", f"{KEY}x"),
        force("ranker-v2=treatment", ""),
        force("nobody=nothing", "wrong"),
        force("!!", "wrong"),
        [*force("ranker-v2=treatment"), ("endcap-force-key", "wrong")],
        [("endcap-force-key", KEY)],
    ],
)
def test_without_the_key_the_header_is_as_if_it_were_not_there(
    server: GraphServer, headers: list[tuple[str, str]]
) -> None:
    assert said(ask(server, *headers)) == ASSIGNED


def test_a_key_that_is_replaced_is_old_at_once(server: GraphServer, key: Path) -> None:
    assert said(ask(server, *force("ranker-v2=treatment"))) == FORCED
    new = key.with_name(".new")
    new.write_text("another")
    new.rename(key)
    assert said(ask(server, *force("ranker-v2=treatment"))) == ASSIGNED
    assert said(ask(server, *force("ranker-v2=treatment", "another"))) == FORCED


@pytest.mark.parametrize("content", [None, "", "\n"])
def test_without_a_key_in_the_file_nothing_can_be_forced(
    server: GraphServer, key: Path, content: str | None
) -> None:
    if content is None:
        key.unlink()
    else:
        key.write_text(content)
    for given in ("", KEY, "\n"):
        assert said(ask(server, *force("ranker-v2=treatment", given.strip()))) == ASSIGNED
    key.write_text(KEY)
    assert said(ask(server, *force("ranker-v2=treatment"))) == FORCED


def test_several_are_named_in_one_header_or_in_several(server: GraphServer) -> None:
    assert said(ask(server, *force("off=treatment , ranker-v2=treatment"))) == FORCED
    more = [("endcap-force", "off=treatment"), *force("ranker-v2=treatment")]
    response = ask(server, *more)
    assert said(response) == FORCED
    assert response.json()["experiments"]["off"] == {"variant": "control", "reason": "disabled"}


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ("ranker=treatment", "there is no experiment ranker in this graph: there are ranker-v2, off"),
        ("ranker-v2=treatmnt", "ranker-v2 has no variant treatmnt: its variants are control, treatment"),
        ("ranker-v2", "write it as <experiment>=<variant>"),
        ("", "write it as <experiment>=<variant>"),
        ("ranker-v2=treatment,", "write it as <experiment>=<variant>"),
        ("ranker-v2=treatment, ranker-v2=control", "each experiment once"),
        ("ranker-v2=treatment;reason=forced", "write it as <experiment>=<variant>"),
        ("Ranker-V2=treatment", "write it as <experiment>=<variant>"),
    ],
)
def test_who_has_the_key_is_told_what_is_wrong_with_the_header(
    server: GraphServer, value: str, told: str
) -> None:
    response = ask(server, *force(value))
    assert response.status_code == 422
    (error,) = response.json()["errors"]
    assert error["field"] == "endcap-force"
    assert told in error["message"]


def test_what_is_forced_is_not_counted_among_what_is_measured(server: GraphServer) -> None:
    def requests(variant: str) -> int:
        page = ServingPage.model_validate_json(httpx.get(f"{server.url}/-/experiments").content)
        return page.experiments["ranker-v2"].variants[variant].requests

    before = requests("treatment"), requests("control")
    for _ in range(5):
        ask(server, *force("ranker-v2=treatment"))
    assert (requests("treatment"), requests("control")) == before
    ask(server)
    assert requests("control") == before[1] + 1
    metrics = httpx.get(f"{server.url}/metrics").text
    forced = [line for line in metrics.splitlines() if 'reason="forced"' in line]
    assert any("endcap_experiment_assigned_total" in line for line in forced)
    assert not any(
        line.startswith("endcap_experiment_served_total") and 'variant="treatment"' in line
        for line in metrics.splitlines()
    )


def test_the_key_is_never_logged_nor_answered(server: GraphServer) -> None:
    for headers in (force("ranker-v2=treatment"), force("ranker-v2=nobody"), force("!!")):
        response = ask(server, *headers)
        assert KEY not in response.text
        assert KEY not in str(response.headers)
    time.sleep(0.1)
    assert KEY not in server.log


def test_units_are_in_the_answer_alone(server: GraphServer) -> None:
    """Neither logs nor pages tell who was assigned."""
    unit = "canary-4711-of-nobody"
    answer = httpx.post(f"{server.url}/basket", json={"customer": unit}).json()
    assert answer["customer"] == unit
    httpx.post(f"{server.url}/basket", json={"customer": unit, "limit": 0})
    for path in ("/metrics", "/-/experiments", "/-/revision", "/docs", "/openapi.json"):
        assert unit not in httpx.get(f"{server.url}{path}").text
    time.sleep(0.1)
    assert unit not in server.log


def test_keys_are_compared_in_constant_time(keys: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[tuple[Any, Any]] = []

    def compare(one: Any, other: Any) -> bool:
        compared.append((one, other))
        return False

    monkeypatch.setattr(forcing.hmac, "compare_digest", compare)
    assert not forcing.ForceKey(keys / "forceKey").is_(KEY.encode())
    assert compared == [(KEY.encode(), KEY.encode())]
