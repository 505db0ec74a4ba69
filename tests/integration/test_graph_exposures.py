# SPDX-License-Identifier: Apache-2.0
"""What a graph tells of who met which variant: told once, whatever came of the request, and nothing that is untrue."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from exposure_doors import ExposureDoor
from shop import products
from shop_exposures import IDENTITY, TryingEngine, TryingShop, everyone_in, experiment

from endcap_api.assignment import bucket
from endcap_runtime.graph.loading import Refused

SALT = "basket.rank.ranker-v2"
TREATED = next(f"u{n}" for n in range(99) if bucket(SALT, f"u{n}") >= 5000)
CONTROL = next(f"u{n}" for n in range(99) if bucket(SALT, f"u{n}") < 5000)


def request(customer: str, **changes: Any) -> dict[str, Any]:
    return {"customer": customer, "cart": ["Paper plates"], "store": "330", **changes}


@pytest.fixture
async def door() -> AsyncIterator[ExposureDoor]:
    async with ExposureDoor() as door:
        yield door


@pytest.fixture
async def shop(tmp_path: Path) -> AsyncIterator[TryingShop]:
    async with TryingShop(tmp_path) as shop:
        yield shop


async def until(holds: Callable[[], Any], seconds: float = 10) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end
        await asyncio.sleep(0.01)


async def quiet(engine: TryingEngine) -> None:
    """All that was to be told has been."""
    await until(lambda: engine.exposures.waiting == 0)
    await asyncio.sleep(0.2)
    assert engine.exposures.waiting == 0


async def told(engine: TryingEngine, door: ExposureDoor) -> list[dict[str, Any]]:
    await quiet(engine)
    return door.taken


async def test_an_exposure_says_who_met_what_and_by_what_chance(shop: TryingShop, door: ExposureDoor) -> None:
    engine = shop.trying(shop.ranked(), ranker_v2=experiment(exposures=door.url))
    before = time.time_ns() // 1_000_000
    answer = await engine.ask(**request(TREATED))
    (exposure,) = await told(engine, door)
    keys = {"Plastic cups": "2", "Gift wrap": "7", "Balloons": "5", "Plastic cutlery": "4", "Ice cream": "6"}
    names = products(answer)
    assert names[0] == "Milk", "the cheapest, as the challenger has it"
    keys |= {"Milk": "8"}
    assert before <= exposure.pop("time_ms") <= time.time_ns() // 1_000_000
    assert 0 < exposure.pop("latency_ms") < 10_000
    assert exposure == {
        "schema": 1,
        "graph": "basket",
        "step": "rank",
        "experiment": "ranker-v2",
        "experiment_id": IDENTITY,
        "phase": "Running",
        "revision": 3,
        "epoch": 1,
        "unit": TREATED,
        "unit_type": "customer",
        "bucket": bucket(SALT, TREATED),
        "eligible": True,
        "variant": "treatment",
        "served": "treatment",
        "reason": "assigned",
        "propensity": 0.5,
        "in_analysis": True,
        "model": "basket-ranker-v2@2",
        "digest": "d" * 64,
        "request_id": answer["request_id"],
        "feature_freshness_ms": None,
        "items": [{"product": keys[name], "position": place} for place, name in enumerate(names, start=1)],
        "covariates": {},
    }


async def test_an_exposure_begins_before_its_shopper_can_act_on_the_answer(
    shop: TryingShop, door: ExposureDoor
) -> None:
    """An outcome before its exposure counts for nobody, and what is told is told behind the answer."""
    engine = shop.trying(shop.ranked(), ranker_v2=experiment(exposures=door.url))
    tell = engine.exposures.tell

    answered: list[float] = []

    def late(*given: Any) -> None:
        answered.append(time.time() * 1000)
        time.sleep(0.05)
        tell(*given)

    engine.exposures.tell = late  # type: ignore[method-assign]
    before = time.time_ns() // 1_000_000
    shop.challenger.behaviour, shop.challenger.delay = "slow", 0.2
    await engine.ask(**request(TREATED))
    (exposure,) = await told(engine, door)
    assert before - 1 <= exposure["time_ms"] <= answered[0] - 200
    assert 200 <= exposure["latency_ms"] <= answered[0] - before + 1


async def test_of_a_very_long_answer_the_first_products_are_told(tmp_path: Path, door: ExposureDoor) -> None:
    """A store takes 64 KiB an exposure; one that is longer would be lost each time."""
    items = [
        {
            "id": "k" * 100 + str(n),
            "name": f"n{n}",
            "category": "c",
            "price": 1.0,
            "sold": n,
            "stores": ["330"],
        }
        for n in range(900)
    ]
    async with TryingShop(tmp_path, items=items) as shop:
        shop.models["popularity"].answer = lambda columns: {
            "item": [[each["id"] for each in items]] * len(columns["store"]),
            "score": [[1.0] * len(items)] * len(columns["store"]),
        }
        graph = (
            shop.graph().recall("popular", "popularity", top=900).rank(model="basket-ranker").select("900")
        )
        engine = shop.trying(graph, ranker_v2=experiment(exposures=door.url))
        answer = await engine.ask(**request(TREATED, cart=[]))
        assert len(answer["recommendations"]) == 900
        (exposure,) = await told(engine, door)
    assert len(json.dumps(exposure)) < 70_000
    assert [each["position"] for each in exposure["items"]] == list(range(1, 451))


async def test_a_unit_is_told_once_a_phase_and_again_in_the_next(
    shop: TryingShop, door: ExposureDoor
) -> None:
    engine = shop.trying(shop.ranked(), ranker_v2=experiment(exposures=door.url))
    for _ in range(5):
        for unit in (TREATED, CONTROL):
            await engine.ask(**request(unit))
    assert [(each["unit"], each["variant"]) for each in await told(engine, door)] == [
        (TREATED, "treatment"),
        (CONTROL, "control"),
    ]
    _serve(shop, engine, experiment(exposures=door.url, phase="Ramping", revision=4))
    await engine.ask(**request(TREATED))
    assert [(each["unit"], each["phase"]) for each in await told(engine, door)][2:] == [(TREATED, "Ramping")]


def _serve(shop: TryingShop, engine: TryingEngine, value: dict[str, Any]) -> None:
    """Another revision takes over in the same process."""
    engine.serving.served = shop.load(engine, shop.ranked(), ranker_v2=value)


async def test_a_unit_that_meets_another_variant_is_told_again(shop: TryingShop, door: ExposureDoor) -> None:
    """Otherwise nobody could count that it crossed."""
    engine = shop.trying(shop.ranked(), ranker_v2=experiment(exposures=door.url))
    await engine.ask(**request(TREATED))
    _serve(shop, engine, experiment(exposures=door.url, variants=everyone_in("control"), revision=4, epoch=2))
    await engine.ask(**request(TREATED))
    assert [(each["variant"], each["epoch"]) for each in await told(engine, door)] == [
        ("treatment", 1),
        ("control", 2),
    ]


async def test_a_unit_that_was_listed_is_told_again_when_it_counts(
    shop: TryingShop, door: ExposureDoor
) -> None:
    listed = experiment(exposures=door.url, overrides={TREATED: "treatment"})
    engine = shop.trying(shop.ranked(), ranker_v2=listed)
    await engine.ask(**request(TREATED))
    _serve(shop, engine, experiment(exposures=door.url, revision=4))
    await engine.ask(**request(TREATED))
    both = [(each["reason"], each["in_analysis"], each["propensity"]) for each in await told(engine, door)]
    assert both == [("listed", False, 1.0), ("assigned", True, 0.5)]


async def test_who_is_held_out_is_told_and_not_counted(shop: TryingShop, door: ExposureDoor) -> None:
    holdout = {"name": "2026q4", "percent": 50}
    unit = next(f"u{n}" for n in range(99) if bucket("holdout/2026q4", f"u{n}") < 5000)
    engine = shop.trying(shop.ranked(), ranker_v2=experiment(exposures=door.url, holdout=holdout))
    await engine.ask(**request(unit))
    (exposure,) = await told(engine, door)
    assert (exposure["variant"], exposure["reason"]) == ("control", "held_out")
    assert (exposure["in_analysis"], exposure["eligible"], exposure["propensity"]) == (False, False, 1.0)


async def test_who_names_a_variant_is_told_and_not_counted(shop: TryingShop, door: ExposureDoor) -> None:
    shop.force_key.write_text("key")
    engine = shop.trying(shop.ranked(), ranker_v2=experiment(exposures=door.url))
    for unit, key in ((CONTROL, "key"), ("", "key"), (TREATED, "wrong")):
        headers = {"endcap-force": "ranker-v2=treatment", "endcap-force-key": key}
        answer = await engine.send(json.dumps(request(unit)).encode(), **headers)
        assert answer.json()["experiments"]["ranker-v2"]["variant"] == "treatment"
    facts = ("unit", "reason", "in_analysis", "propensity")
    assert [tuple(each[fact] for fact in facts) for each in await told(engine, door)] == [
        (CONTROL, "forced", False, 1.0),
        (TREATED, "assigned", True, 0.5),
    ], "nobody was exposed where there is no unit"


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"enabled": False}, "disabled"),
        ({"everyone": "treatment"}, "promoted"),
        ({"targeting": 'request.store == "7"'}, "not_targeted"),
        ({"layer": {"name": "home", "buckets": ["0-1"]}}, "other_layer"),
        ({"variants": [{**each, "buckets": []} for each in experiment()["variants"]]}, "not_covered"),
    ],
)
async def test_who_takes_no_part_is_not_told(
    changes: dict[str, Any], why: str, shop: TryingShop, door: ExposureDoor
) -> None:
    engine = shop.trying(shop.ranked(), ranker_v2=experiment(exposures=door.url, **changes))
    answer = await engine.ask(**request(TREATED))
    assert answer["experiments"]["ranker-v2"]["reason"] == why
    assert await told(engine, door) == []


async def test_a_request_without_a_unit_is_not_told(shop: TryingShop, door: ExposureDoor) -> None:
    engine = shop.trying(shop.ranked(), ranker_v2=experiment(exposures=door.url))
    await engine.ask(**request(""))
    await engine.post({"customer": 7})
    assert await told(engine, door) == []


async def test_a_unit_that_no_store_takes_is_counted_and_keeps_no_other(
    shop: TryingShop, door: ExposureDoor
) -> None:
    engine = shop.trying(shop.ranked(), ranker_v2=experiment(exposures=door.url))
    for unit in ("é" * 513, "e" * 1024):
        await engine.ask(**request(unit))
    assert [each["unit"] for each in await told(engine, door)] == ["e" * 1024]
    assert engine.counted("experiment_exposures_total", graph="basket", outcome="dropped") == 1


async def test_an_experiment_whose_exposures_nobody_keeps_tells_none(
    shop: TryingShop, door: ExposureDoor
) -> None:
    engine = shop.trying(shop.ranked(), ranker_v2=experiment())
    assert (await engine.ask(**request(TREATED)))["experiments"]["ranker-v2"]["reason"] == "assigned"
    assert (engine.exposures._outboxes, await told(engine, door)) == ({}, [])


@pytest.mark.parametrize("url", ["https://ingest.shop.svc", "ingest:8080", "http://:8080", "http://a:99999"])
async def test_a_revision_that_could_tell_nobody_is_refused(url: str, shop: TryingShop) -> None:
    with pytest.raises(Refused, match=r"experiments\.ranker-v2\.exposures: .* write it as http"):
        shop.trying(shop.ranked(), ranker_v2=experiment(exposures=url))


async def test_a_variant_that_is_down_is_assigned_and_not_served(
    shop: TryingShop, door: ExposureDoor
) -> None:
    shop.challenger.behaviour = "status_500"
    engine = shop.trying(shop.ranked(), ranker_v2=experiment(exposures=door.url))
    answer = await engine.ask(**request(TREATED))
    assert products(answer)[0] == "Ice cream", "the dearest, as the baseline has it"
    (exposure,) = await told(engine, door)
    assert (exposure["variant"], exposure["served"]) == ("treatment", "control")
    assert (exposure["in_analysis"], exposure["propensity"]) == (True, 0.5)
    assert (exposure["model"], exposure["digest"]) == ("basket-ranker@4", "c" * 64)


async def test_a_step_that_gave_nothing_at_all_is_told_as_that(shop: TryingShop, door: ExposureDoor) -> None:
    """keepOrder answers all the same; of the step there is neither a variant that served nor a model."""
    shop.challenger.behaviour = shop.models["basket-ranker"].behaviour = "status_500"
    graph = shop.basket().rank(model="basket-ranker", onError="keepOrder").select()
    engine = shop.trying(graph, ranker_v2=experiment(exposures=door.url))
    answer = await engine.ask(**request(TREATED))
    (exposure,) = await told(engine, door)
    assert (exposure["variant"], exposure["served"]) == ("treatment", None)
    assert (exposure["model"], exposure["digest"]) == (None, None)
    assert len(exposure["items"]) == len(answer["recommendations"])


async def test_a_request_that_got_no_answer_is_told(shop: TryingShop, door: ExposureDoor) -> None:
    """Else a variant that fails would lose its units from the comparison by failing."""
    shop.challenger.behaviour = shop.models["basket-ranker"].behaviour = "status_500"
    graph = shop.basket().rank(model="basket-ranker", onError="fail").select()
    engine = shop.trying(graph, ranker_v2=experiment(exposures=door.url))
    assert (await engine.post(request(TREATED))).status_code == 503
    (exposure,) = await told(engine, door)
    assert (exposure["variant"], exposure["served"], exposure["items"]) == ("treatment", None, [])
    assert exposure["in_analysis"]


async def test_a_request_that_cannot_be_read_is_not_told(shop: TryingShop, door: ExposureDoor) -> None:
    engine = shop.trying(shop.ranked(), ranker_v2=experiment(exposures=door.url))
    assert (await engine.post({"customer": TREATED, "cart": 3})).status_code == 422
    assert await told(engine, door) == []


async def test_what_is_sent_is_counted(shop: TryingShop, door: ExposureDoor) -> None:
    engine = shop.trying(shop.ranked(), ranker_v2=experiment(exposures=door.url))
    for number in range(30):
        await engine.ask(**request(f"u{number}"))
    await quiet(engine)
    assert engine.counted("experiment_exposures_total", graph="basket", outcome="sent") == 30
    assert engine.counted("experiment_exposures_total", graph="basket", outcome="dropped") == 0
    assert len(door.batches) < 30


async def test_no_answer_waits_for_a_store_that_stands_still(shop: TryingShop, door: ExposureDoor) -> None:
    door.hangs = True
    engine = shop.trying(shop.ranked(), ranker_v2=experiment(exposures=door.url))
    start = time.monotonic()
    for number in range(50):
        await engine.ask(**request(f"u{number}"))
    assert time.monotonic() - start < 50, "its own patience is 5 s a batch"
    assert engine.exposures.waiting == 50


async def test_two_experiments_tell_their_own_stores(shop: TryingShop, door: ExposureDoor) -> None:
    async with ExposureDoor() as other:
        recalls = experiment(
            "together",
            id="0123456789ab",
            salt="basket.together.recall-v2",
            exposures=other.url,
            variants=[
                {"name": "control", "baseline": True, "buckets": ["0-5000"], "weight": 5000},
                {"name": "again", "model": "item-cooccurrence", "buckets": ["5000-10000"], "weight": 5000},
            ],
        )
        engine = shop.trying(shop.ranked(), ranker_v2=experiment(exposures=door.url), recall_v2=recalls)
        await engine.ask(**request(TREATED))
        (one,) = await told(engine, door)
        (two,) = other.taken
    assert (one["experiment"], one["step"]) == ("ranker-v2", "rank")
    assert (two["experiment"], two["step"], two["model"]) == ("recall-v2", "together", "item-cooccurrence@4")


async def test_no_unit_is_in_a_log_or_a_metric(
    shop: TryingShop, door: ExposureDoor, caplog: pytest.LogCaptureFixture
) -> None:
    engine = shop.trying(shop.ranked(), ranker_v2=experiment(exposures=door.url))
    canary = "canary-unit-4711"
    await door.leave()
    await engine.ask(**request(canary))
    await until(lambda: "Exposures were not taken" in caplog.text)
    page = await engine.get("/metrics")
    assert "endcap_experiment_exposures_total" in page.text
    for text in (caplog.text, page.text, (await engine.get("/-/experiments")).text):
        assert canary not in text
