# SPDX-License-Identifier: Apache-2.0
"""Mode shadow: variants are asked beside the answers and compared with the baseline; nothing else changes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import orjson
import pytest
from exposure_doors import ExposureDoor
from graphs import Graph
from shop_exposures import CHALLENGER, IDENTITY, TryingEngine, TryingShop, experiment
from shop_features import FeatureShop
from upstreams import FAILURES, Behaviour

from endcap_api.experiment_config import Agreement, ServingPage

CART = {"customer": "1467", "cart": ["Paper plates"], "store": "330"}
OURS = ("request_id", "took_ms")


@pytest.fixture
async def shop(tmp_path: Path) -> AsyncIterator[TryingShop]:
    async with TryingShop(tmp_path) as shop:
        yield shop


def shadow(step: str = "rank", **variant: Any) -> dict[str, Any]:
    """One variant beside the baseline, for everyone."""
    asked = variant or {"model": CHALLENGER}
    variants = [
        {"name": "control", "baseline": True, "buckets": ["0-5000"], "weight": 5000},
        {"name": "treatment", **asked, "buckets": ["5000-10000"], "weight": 5000},
    ]
    return experiment(step, mode="shadow", variants=variants)


async def until(holds: Callable[[], Any], seconds: float = 10) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end
        await asyncio.sleep(0.01)


async def idle(engine: TryingEngine) -> None:
    await until(lambda: not engine.shadows._asking)


def outcomes(engine: TryingEngine) -> dict[str, float]:
    labels = {"graph": "basket", "experiment": "ranker-v2", "variant": "treatment"}
    return {
        outcome: engine.counted("experiment_shadow_total", **labels, outcome=outcome)
        for outcome in ("compared", "failed", "dropped")
    }


async def agreement(engine: TryingEngine) -> Agreement:
    """What the operator reads."""
    await idle(engine)
    page = ServingPage.model_validate_json((await engine.get("/-/experiments")).content)
    assert page.experiments["ranker-v2"].id == IDENTITY
    found = page.experiments["ranker-v2"].variants["treatment"].shadow
    assert found is not None
    return found


async def answered(engine: TryingEngine, **changes: Any) -> dict[str, Any]:
    """An answer without what differs between any two."""
    answer = await engine.ask(**{**CART, **changes})
    await idle(engine)
    return {name: value for name, value in answer.items() if name not in OURS}


async def test_everyone_gets_the_baseline_and_the_variant_is_compared_with_it(shop: TryingShop) -> None:
    engine = shop.trying(shop.ranked(), ranker_v2=shadow())
    answer = await answered(engine)
    assert answer["experiments"] == {"ranker-v2": {"variant": "control", "reason": "shadowed"}}
    assert answer["served_by"]["rank"] == "basket-ranker@4"
    (live,), (beside,) = shop.models["basket-ranker"].calls, shop.challenger.calls
    assert beside.columns == live.columns, "the variant is asked what the baseline was asked"
    agreed = await agreement(engine)
    assert (agreed.compared, agreed.errors, agreed.dropped) == (1, 0, 0)
    assert (agreed.overlap, agreed.correlation) == (1.0, -1.0), "the same products in the opposite order"
    assert sum(agreed.latency.counts) == 1
    assert outcomes(engine) == {"compared": 1, "failed": 0, "dropped": 0}


async def test_an_answer_is_that_of_the_graph_alone_whatever_the_shadow_does(shop: TryingShop) -> None:
    alone = await answered(shop.trying(shop.ranked()))
    engine = shop.trying(shop.ranked(), ranker_v2=shadow())
    told = {"ranker-v2": {"variant": "control", "reason": "shadowed"}}
    for behaviour in ("well", *FAILURES):
        await _behave(shop, behaviour)
        answer = await answered(engine)
        assert answer.pop("experiments") == told
        assert orjson.dumps(answer) == orjson.dumps(alone), behaviour
    assert outcomes(engine) == {"compared": 1, "failed": len(FAILURES), "dropped": 0}
    agreed = await agreement(engine)
    assert (agreed.compared, agreed.errors) == (1, len(FAILURES))
    assert sum(agreed.latency.counts) == 1
    for family in ("graph_degraded_total", "step_failures_total"):
        assert not [each for each in _samples(engine, family) if each], family


async def _behave(shop: TryingShop, behaviour: Behaviour) -> None:
    await shop.challenger.refuse()
    shop.challenger.behaviour, shop.challenger.delay = behaviour, 5.0
    if behaviour != "refuses":
        await shop.challenger.listen()


def _samples(engine: TryingEngine, name: str) -> list[float]:
    return [
        sample.value
        for family in engine.registry.collect()
        for sample in family.samples
        if sample.name == f"endcap_{name}"
    ]


async def test_a_rank_by_an_expression_is_compared(shop: TryingShop) -> None:
    engine = shop.trying(shop.ranked(), ranker_v2=shadow(by="candidate.price"))
    await answered(engine)
    agreed = await agreement(engine)
    assert (agreed.compared, agreed.overlap, agreed.correlation) == (1, 1.0, 1.0)


async def test_an_expression_without_a_value_is_an_error_of_the_shadow_alone(shop: TryingShop) -> None:
    alone = await answered(shop.trying(shop.ranked()))
    engine = shop.trying(shop.ranked(), ranker_v2=shadow(by="1.0 / (candidate.price - 4.0) * 0.0"))
    answer = await answered(engine)
    del answer["experiments"]
    assert answer == alone
    assert (await agreement(engine)).errors == 1


async def test_a_recall_is_compared_by_what_was_found(shop: TryingShop) -> None:
    graph = (
        shop.graph()
        .recall("together", "item-cooccurrence")
        .recall("buy-again", "buy-it-again")
        .rank(model="basket-ranker")
        .select()
    )
    engine = shop.trying(graph, ranker_v2=shadow("buy-again", model="popularity"))
    answer = await answered(engine)
    agreed = await agreement(engine)
    # Milk and ice cream, against milk, plates, cups and gift wrap.
    assert (agreed.compared, agreed.overlap, agreed.correlation) == (1, 0.25, 1.0)
    assert {source for each in answer["recommendations"] for source in each["sources"]} == {
        "together",
        "buy-again",
    }


async def test_what_the_catalogue_does_not_know_is_not_compared(shop: TryingShop) -> None:
    """The baseline finds 8 and 6."""
    shop.models["popularity"].answer = lambda columns: {
        "item": [["no-such", "8", "8", "none", "6"]] * len(columns["store"]),
        "score": [[0.5] * 5] * len(columns["store"]),
    }
    graph = shop.graph().recall("together", "item-cooccurrence").recall("buy-again", "buy-it-again")
    engine = shop.trying(graph.select(), ranker_v2=shadow("buy-again", model="popularity"))
    await answered(engine)
    agreed = await agreement(engine)
    assert (agreed.compared, agreed.overlap, agreed.correlation) == (1, 1.0, 1.0)
    assert engine.counted("unknown_items_total", graph="basket", step="buy-again") == 0


@pytest.mark.parametrize(("said", "equal"), [("party supplies", 1.0), ("a feast", 0.0)])
async def test_a_model_step_is_compared_by_what_was_said(said: str, equal: float, shop: TryingShop) -> None:
    graph = shop.graph().recall("together", "item-cooccurrence").ask("intent", "micro-intent")
    engine = shop.trying(
        intending(shop, graph.rank(by="candidate.price").select(), said),
        ranker_v2=shadow("intent", model=CHALLENGER),
    )
    answer = await answered(engine)
    assert answer["intent"]["name"] == "party supplies"
    agreed = await agreement(engine)
    assert (agreed.compared, agreed.overlap, agreed.correlation) == (1, equal, equal)


def intending(shop: TryingShop, graph: Graph, said: str) -> Graph:
    """The graph, its challenger being one of micro-intent that says so."""
    intent = shop.models["micro-intent"]
    shop.challenger.inputs, shop.challenger.outputs = intent.inputs, intent.outputs
    shop.challenger.answer = lambda columns: {**intent.answer(columns), "name": [said] * len(columns["cart"])}
    graph.models[CHALLENGER] = {**graph.models["micro-intent"], "url": shop.challenger.contract.url}
    return graph


async def test_where_the_baseline_has_nothing_there_is_nothing_to_compare(shop: TryingShop) -> None:
    shop.models["basket-ranker"].behaviour = "status_500"
    graph = shop.basket().rank(model="basket-ranker", onError="keepOrder").select()
    engine = shop.trying(graph, ranker_v2=shadow())
    await answered(engine)
    assert outcomes(engine) == {"compared": 0, "failed": 0, "dropped": 0}
    assert shop.challenger.calls == []


async def test_a_request_that_got_no_answer_is_not_compared(shop: TryingShop) -> None:
    engine = shop.trying(
        shop.basket().rank(model="basket-ranker").select("request.limit - 11"), ranker_v2=shadow()
    )
    assert (await engine.post(CART)).status_code == 503
    await idle(engine)
    assert shop.challenger.calls == []
    assert outcomes(engine) == {"compared": 0, "failed": 0, "dropped": 0}


async def test_who_takes_no_part_is_asked_for_nothing(shop: TryingShop) -> None:
    nobody = [{**each, "buckets": []} for each in shadow()["variants"]]
    for change in ({"enabled": False}, {"targeting": "false"}, {"variants": nobody}):
        engine = shop.trying(shop.ranked(), ranker_v2={**shadow(), **change})
        await answered(engine)
        assert outcomes(engine) == {"compared": 0, "failed": 0, "dropped": 0}
    assert shop.challenger.calls == []


async def test_all_variants_are_asked(shop: TryingShop) -> None:
    value = shadow()
    value["variants"].append({"name": "dear", "by": "candidate.price", "buckets": [], "weight": 0})
    engine = shop.trying(shop.ranked(), ranker_v2=value)
    await answered(engine)
    page = ServingPage.model_validate_json((await engine.get("/-/experiments")).content)
    variants = page.experiments["ranker-v2"].variants
    found = {name: each.shadow and each.shadow.correlation for name, each in variants.items()}
    assert found == {"control": None, "treatment": -1.0, "dear": 1.0}


async def test_a_shadow_that_hangs_has_eight_calls_and_no_queue(shop: TryingShop) -> None:
    shop.challenger.behaviour = "hangs"
    engine = shop.trying(shop.ranked().with_(deadline="60s"), ranker_v2=shadow())
    for _ in range(30):
        await engine.ask(**CART)
    assert len(engine.shadows._asking) == 8
    assert outcomes(engine) == {"compared": 0, "failed": 0, "dropped": 22}
    page = ServingPage.model_validate_json((await engine.get("/-/experiments")).content)
    agreed = page.experiments["ranker-v2"].variants["treatment"].shadow
    assert agreed is not None
    assert agreed.dropped == 22


async def test_a_place_is_free_again_when_its_time_is_up(shop: TryingShop) -> None:
    shop.challenger.behaviour = "hangs"
    graph = shop.basket().rank(model="basket-ranker", timeout="500ms").select()
    engine = shop.trying(graph, ranker_v2=shadow())
    for _ in range(10):
        await engine.ask(**CART)
    await idle(engine)
    found = outcomes(engine)
    assert found["failed"] >= 8
    assert found["failed"] + found["dropped"] == 10
    shop.challenger.behaviour = "well"
    await answered(engine)
    assert outcomes(engine)["compared"] == 1


async def test_a_shadow_that_hangs_keeps_no_answer_waiting(shop: TryingShop) -> None:
    shop.challenger.behaviour = "hangs"
    engine = shop.trying(shop.ranked(), ranker_v2=shadow())
    start = time.monotonic()
    for _ in range(20):
        await engine.ask(**CART)
    assert time.monotonic() - start < 20, "its own time is 2 s a call"


async def test_an_engine_that_ends_does_not_wait_for_a_shadow(shop: TryingShop) -> None:
    shop.challenger.behaviour = "hangs"
    engine = shop.trying(shop.ranked(), ranker_v2=shadow())
    await engine.ask(**CART)
    await until(lambda: shop.challenger.calls)
    start = time.monotonic()
    await engine.shadows.aclose()
    assert time.monotonic() - start < 1
    assert not engine.shadows._asking


async def test_a_shadow_is_never_told_as_an_exposure(shop: TryingShop) -> None:
    async with ExposureDoor() as door:
        holdout = {"name": "2026q4", "percent": 50}  # who is held out is told, of a split
        value = {**shadow(), "exposures": door.url, "holdout": holdout}
        engine = shop.trying(shop.ranked(), ranker_v2=value)
        for number in range(20):
            await engine.ask(**{**CART, "customer": f"u{number}"})
        await asyncio.sleep(0.3)
        assert (engine.exposures.waiting, door.batches) == (0, [])


async def test_a_shadow_changes_no_exposure_of_another_experiment(shop: TryingShop) -> None:
    """Not even a covariate that reads the step that it is about."""
    graph = shop.graph().recall("together", "item-cooccurrence").ask("intent", "micro-intent")
    graph = intending(shop, graph.rank(model="basket-ranker").select(), "a feast")
    intent = shop.models["micro-intent"]
    shop.challenger.answer = lambda columns: {**intent.answer(columns), "confidence": [0.0]}
    split = experiment(
        id="0" * 12,
        covariates={"revenue": "intent.confidence"},
        variants=[
            {"name": "control", "baseline": True, "buckets": [], "weight": 0},
            {"name": "treatment", "by": "0.0 - candidate.price", "buckets": ["0-10000"], "weight": 10_000},
        ],
    )
    exposures = []
    async with ExposureDoor() as door:
        for beside in ({}, {"intent_v2": {**shadow("intent"), "salt": "basket.intent.intent-v2"}}):
            engine = shop.trying(graph, ranker_v2={**split, "exposures": door.url}, **beside)
            await engine.ask(**CART)
            await idle(engine)
            await until(lambda: door.taken)
            exposures.append(door.taken.pop())
        await asyncio.sleep(0.2)
        assert door.taken == []
    assert len(shop.challenger.calls) == 1
    one, other = ({n: v for n, v in each.items() if n not in _MOMENT} for each in exposures)
    assert one == other
    assert one["covariates"] == {"revenue": pytest.approx(0.6213871)}


_MOMENT = ("time_ms", "latency_ms", "request_id")


@pytest.mark.parametrize("step", ["intent", "rank"])
async def test_a_shadow_changes_no_feature_no_record_and_nothing_that_is_written_back(
    step: str, shop: TryingShop, tmp_path: Path
) -> None:
    """The same request with and without: the same rows, the same serving log, the same lookups."""
    async with FeatureShop(tmp_path / "features") as features:
        shop.socket = features.socket
        await features.know("customer-profile", ["1467"], budget=9.0)
        variant = {"model": CHALLENGER} if step == "intent" else {"by": "-1.0 * candidate.price"}
        traces = []
        for experiments in ({}, {"ranker_v2": shadow(step, **variant)}):
            graph = writing(shop, features)
            engine = shop.trying(intending(shop, graph, "a feast"), **experiments)
            answer = await engine.ask(**CART)
            await idle(engine)
            await features.until(lambda: _written(features))
            traces.append((_served(features), _written(features), _lookups(engine), answer["intent"]))
            with features.redis.client() as client:
                client.delete(*client.keys("*customer-last*"), *client.keys("*:served"))
        assert outcomes(engine) == {"compared": 1, "failed": 0, "dropped": 0}
        assert traces[0] == traces[1]
        assert traces[0][2] == 1


def writing(shop: TryingShop, features: FeatureShop) -> Graph:
    """Whatever a shadow could spoil is written back: what the model step said, and the order of the answer."""
    return (
        shop.graph()
        .features_of(features.config)
        .ask("intent", "micro-intent")
        .recall("together", "item-cooccurrence")
        .looks_up("customer", "customer", entity="request.customer")
        .rank(by="candidate.price * customer.budget")
        .select()
        .writes(
            "customer-last",
            {"products": "answer.products.map(p, intent.name + p)", "best": "intent.confidence"},
            entity="request.customer",
        )
    )


def _written(features: FeatureShop) -> bytes | None:
    """What the row holds, without when it was written."""
    with features.redis.client() as client:
        keys = client.keys("*customer-last*")
        row: bytes = client.get(keys[0]) if keys else b""
    at = row.find(b"party supplies")
    return row[at:] if at >= 0 else None


def _lookups(engine: TryingEngine) -> float:
    return engine.counted("graph_lookups_total", graph="basket", outcome="ok")


def _served(features: FeatureShop) -> list[Any]:
    return [orjson.loads(each["value"])["served"] for each in features.served()]
