# SPDX-License-Identifier: Apache-2.0
"""Exposures and outcomes in over HTTP, sums out: a real pod on a real Redis."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from experiment_shop import (
    BANNER,
    EXPERIMENTS,
    RANKER,
    UNIT_KEY,
    cart,
    exposing,
    exposure,
    measured,
    now_ms,
    order,
    settled_sums,
    unit_key,
)
from ingest_servers import Ingest, eventually, ingest
from redis_servers import RedisServer, redis_server

from endcap_runtime.features.experiments.units import hidden, tag_of


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


def test_an_event_with_two_units_of_one_part_of_the_store_counts_for_both(pod: Ingest) -> None:
    """Ids are remembered a part of the store, and one event is no duplicate of itself."""
    customer = "1"
    tag = tag_of(hidden(UNIT_KEY.encode(), customer))
    buyer = next(str(n) for n in range(2, 9999) if tag_of(hidden(UNIT_KEY.encode(), str(n))) == tag)
    banner = {"experiment": "banner", "experiment_id": BANNER, "variant": "red", "served": "red"}
    before = now_ms() - 60_000
    exposing(pod, *(exposure(unit, time_ms=before, **banner) for unit in (customer, buyer)))
    settled_sums(pod, BANNER)
    pod.configure(measured(pod_url(pod), {"banner": two_units()}))
    eventually(lambda: pod.log.count('"Serving"') == 2)
    pod.send(order("o", customer, 3, buyer=buyer), order("o", customer, 3, buyer=buyer))
    metrics = settled_sums(pod, BANNER)["epochs"]["1"]["red"]["metrics"]
    assert {name: each["y"] for name, each in metrics.items()} == {"orders": 1, "orders-of-customer": 1}


def two_units() -> dict[str, Any]:
    banner = EXPERIMENTS["banner"]
    orders = banner["metrics"][0]
    return {**banner, "metrics": [orders, {**orders, "name": "orders-of-customer", "unit": "customer"}]}


def pod_url(pod: Ingest) -> str:
    """Of the Redis that it was told."""
    stores = json.loads((pod.directory / "features" / "features.json").read_text())["stores"]
    return str(stores["default"]["url"])


def test_a_unit_is_the_same_as_a_number_and_as_a_text(pod: Ingest) -> None:
    exposing(pod, exposure("1467", time_ms=now_ms() - 60_000))
    pod.send(order("a", 1467, 2), order("b", "1467", 3), order("c", "01467", 4))
    assert settled_sums(pod)["epochs"]["1"]["treatment"]["metrics"]["revenue"]["y"] == 5


def test_an_outcome_before_its_exposure_is_counted_when_that_comes(pod: Ingest) -> None:
    ago = now_ms() - 60_000
    pod.send(*(order(f"o{n}", "1", n) for n in range(1, 4)), order("o1", "1", 1))
    assert settled_sums(pod)["epochs"] == {}
    assert of_metric(pod, "outcomes", "revenue", "waiting") == 3
    exposing(pod, exposure("1", time_ms=ago))
    found = settled_sums(pod)["epochs"]["1"]["treatment"]["metrics"]["revenue"]
    assert (found["y"], found["yy"]) == (6, 36)
    assert of_metric(pod, "outcomes", "revenue", "joined") == 3
    assert of_metric(pod, "outcomes", "basket-value", "joined") == 3
    pod.send(order("o1", "1", 1))
    assert settled_sums(pod)["epochs"]["1"]["treatment"]["metrics"]["revenue"]["y"] == 6


def of_metric(pod: Ingest, family: str, metric: str, outcome: str) -> float:
    head = f'endcap_ingest_{family}_total{{experiment="ranker-v2",metric="{metric}",outcome="{outcome}"}} '
    lines = httpx.get(f"{pod.url}/metrics").text.splitlines()
    return sum(float(line.removeprefix(head)) for line in lines if line.startswith(head))


def test_what_became_of_exposures_and_outcomes_is_counted(pod: Ingest) -> None:
    again = exposure("1", time_ms=now_ms() - 7_200_000)
    exposing(pod, again, exposure("1", "control"), exposure("2", reason="held_out", in_analysis=False))
    exposing(pod, again, again)
    settled_sums(pod)
    pod.send(order("o", "1", 1), order("o", "1", 1), order("l", "1", 1, "2026-01-01T00:00:00Z"))
    settled_sums(pod)
    lines = httpx.get(f"{pod.url}/metrics").text
    for outcome, count in {"accepted": 5, "first": 1, "again": 2, "crossed": 1, "uncounted": 1}.items():
        assert f'endcap_ingest_exposures_total{{outcome="{outcome}"}} {count}.0' in lines
    # It is two hours since the exposure: within the window of one metric and past that of the other.
    assert of_metric(pod, "outcomes", "basket-value", "counted") == 1, "of both parts of the ratio"
    assert of_metric(pod, "outcomes", "revenue", "outside") == 1
    assert of_metric(pod, "outcomes", "revenue", "duplicate") == 1
    assert of_metric(pod, "outcomes", "revenue", "late") == 1


def test_an_exposure_is_named_by_unit_phase_and_day(pod: Ingest) -> None:
    """The log may hold one twice; whoever reads it counts each name once."""
    day = 86_400_000
    noon = now_ms() // day * day + day // 2
    told = [
        exposure("1", time_ms=noon),
        exposure("1", time_ms=noon + 1),
        exposure("1", time_ms=noon - day),
        exposure("1", time_ms=noon, phase="Ramping"),
        exposure("2", time_ms=noon),
        exposure("1", time_ms=noon, experiment="banner", experiment_id=BANNER, variant="red"),
    ]
    exposing(pod, *told)
    log = pod.get("/v1/exposures")["exposures"]
    assert len({each["id"] for each in log}) == 5
    assert log[0]["id"] == log[1]["id"]
    assert all(re.fullmatch("[0-9a-f]{24}", each["id"]) for each in log)
    for sent, each in zip(told, log, strict=True):
        assert {**each, "unit": sent["unit"]} == {**sent, "id": each["id"]}
        assert re.fullmatch("[0-9a-f]{32}", each["unit"])


def test_the_log_is_read_in_pages_and_by_experiment(pod: Ingest) -> None:
    banner = {"experiment": "banner", "experiment_id": BANNER, "variant": "red"}
    exposing(pod, *(exposure(str(n), **(banner if n % 2 else {})) for n in range(9)))
    first = pod.get("/v1/exposures", experiment="ranker-v2", limit=3)
    rest = pod.get("/v1/exposures", experiment=RANKER, limit=3, after=first["next"])
    assert [len(page["exposures"]) for page in (first, rest)] == [3, 2]
    assert rest["next"] is None
    assert {each["experiment"] for page in (first, rest) for each in page["exposures"]} == {"ranker-v2"}
    assert pod.get("/v1/exposures", experiment="none") == {"exposures": [], "next": None}
