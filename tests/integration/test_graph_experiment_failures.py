# SPDX-License-Identifier: Apache-2.0
"""A variant that cannot serve: the baseline does, within the deadline, and assigned is not called served."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from graphs import Graph
from shop import Engine, degraded, products
from shop_exposures import CHALLENGER, TryingShop, everyone_in, experiment
from upstreams import FAILURES, Behaviour

from endcap_api.experiment_config import ServingPage, VariantServing

CART: dict[str, Any] = {"customer": "1467", "cart": ["Paper plates"], "store": "330"}
DEAREST_FIRST = ["Ice cream", "Gift wrap", "Plastic cutlery", "Balloons", "Plastic cups", "Milk"]
STANDS_IN = {"variant": "treatment", "reason": "assigned", "served": "control"}


@pytest.fixture
async def shop(tmp_path: Path) -> AsyncIterator[TryingShop]:
    async with TryingShop(tmp_path) as shop:
        yield shop


def ranked(shop: TryingShop, **rest: Any) -> Graph:
    return shop.basket().rank(model="basket-ranker", timeout="100ms", **rest).select()


def treated(shop: TryingShop, graph: Graph) -> Engine:
    """Everybody is assigned to the challenger."""
    return shop.trying(graph, x=experiment(variants=everyone_in("treatment")))


async def fail(shop: TryingShop, how: Behaviour, name: str = CHALLENGER) -> None:
    upstream = shop.models[name]
    if how == "refuses":
        await upstream.refuse()
    else:
        upstream.behaviour = how


async def serving(engine: Engine, variant: str = "treatment") -> VariantServing:
    found = ServingPage.model_validate_json((await engine.get("/-/experiments")).content)
    return found.experiments["x"].variants[variant]


@pytest.mark.parametrize("how", FAILURES)
async def test_whatever_is_wrong_with_a_variant_the_baseline_serves(shop: TryingShop, how: Behaviour) -> None:
    engine = treated(shop, ranked(shop))
    await fail(shop, how)
    response = await engine.post(CART)
    answer = response.json()
    assert products(answer) == DEAREST_FIRST
    assert answer["served_by"]["rank"] == "basket-ranker@4"
    assert answer["experiments"] == {"x": STANDS_IN}
    assert response.headers["endcap-experiments"] == "x=treatment;reason=assigned;served=control"
    assert answer["degraded"] == []
    figures = await serving(engine)
    assert (figures.requests, figures.served, figures.errors, figures.degraded) == (1, 0, 1, 0)
    assert (await serving(engine, "control")).requests == 0
    labels = {"graph": "basket", "experiment": "x", "variant": "treatment"}
    assert engine.counted("experiment_served_total", **labels, served="control") == 1


async def test_an_explanation_says_why_the_variant_did_not_serve(shop: TryingShop) -> None:
    engine = treated(shop, ranked(shop))
    await fail(shop, "status_500")
    said = (await engine.explain(**CART))["rank"]
    assert said["rule"] == "by basket-ranker"
    assert said["experiments"][0]["served"] == "control"
    assert "500" in said["experiments"][0]["failure"]
    assert "failure" not in said


async def test_a_variant_that_hangs_leaves_the_baseline_half_of_the_time(shop: TryingShop) -> None:
    """The step has no timeout of its own."""
    graph = shop.basket(timeout="600ms").rank(model="basket-ranker").select().with_(deadline="600ms")
    engine = treated(shop, graph)
    await fail(shop, "hangs")
    start = time.monotonic()
    answer = await engine.ask(**CART)
    assert products(answer) == DEAREST_FIRST
    assert answer["experiments"]["x"] == STANDS_IN
    assert time.monotonic() - start > 0.2


@pytest.mark.parametrize("own", ["500ms", "600ms"])
async def test_a_long_timeout_of_its_own_leaves_the_baseline_half_of_the_time_too(
    shop: TryingShop, own: str
) -> None:
    graph = shop.basket(timeout="600ms").rank(model="basket-ranker", timeout=own).select()
    engine = treated(shop, graph.with_(deadline="600ms"))
    await fail(shop, "hangs")
    shop.models["basket-ranker"].behaviour = "slow"
    shop.models["basket-ranker"].delay = 0.15
    answer = await engine.ask(**CART)
    assert (products(answer), answer["degraded"]) == (DEAREST_FIRST, [])
    assert answer["experiments"]["x"] == STANDS_IN


async def test_an_expression_without_a_value_is_a_failure_of_the_variant_alone(shop: TryingShop) -> None:
    by = "1.0 / (candidate.price - 4.0)"
    variants = everyone_in("treatment")
    variants[1] = {**variants[1], "by": by}
    del variants[1]["model"]
    engine = shop.trying(ranked(shop), x=experiment(variants=variants))
    for _ in range(8):
        answer = await engine.ask(**CART)
        assert answer["experiments"]["x"] == STANDS_IN
    assert "is not finite" in (await engine.explain(**CART))["rank"]["experiments"][0]["failure"]


@pytest.mark.parametrize(
    ("kind", "model"), [("recall", "popularity"), ("model", "intent-v2")], ids=["recall", "model"]
)
async def test_steps_beside_the_candidates_fall_back_too(shop: TryingShop, kind: str, model: str) -> None:
    gone = "http://127.0.0.1:9"
    contract = {way: shop.graph().models["micro-intent"][way] for way in ("inputs", "outputs")}
    graph = shop.graph().model("intent-v2", gone, **contract)
    graph.models["popularity"]["url"] = gone
    graph = graph.ask("intent", "micro-intent").recall("near", "item-cooccurrence")
    graph = graph.keep("fits", "candidate.category in ['party', intent.name]").select()
    step = "near" if kind == "recall" else "intent"
    variants = everyone_in("treatment")
    variants[1]["model"] = model
    engine = shop.trying(graph, x=experiment(step=step, variants=variants))
    answer = await engine.ask(**CART)
    assert answer["experiments"]["x"] == STANDS_IN
    assert answer["degraded"] == []
    assert products(answer) == ["Plastic cutlery", "Balloons", "Plastic cups"]
    assert answer["intent"]["name"] == "party supplies"


async def test_when_the_baseline_fails_too_the_step_fails_as_it_would_without_an_experiment(
    shop: TryingShop,
) -> None:
    engine = treated(shop, ranked(shop))
    await fail(shop, "status_500")
    await fail(shop, "resets", "basket-ranker")
    response = await engine.post(CART)
    answer = response.json()
    assert answer["experiments"]["x"] == {"variant": "treatment", "reason": "assigned", "served": None}
    assert response.headers["endcap-experiments"] == "x=treatment;reason=assigned;served=?0"
    assert list(degraded(answer)) == ["rank"]
    figures = await serving(engine)
    assert (figures.requests, figures.served, figures.errors, figures.degraded) == (1, 0, 1, 1)
    labels = {"graph": "basket", "experiment": "x", "variant": "treatment"}
    assert engine.counted("experiment_served_total", **labels, served="-") == 1


async def test_a_request_without_an_answer_is_an_error_of_its_variant(shop: TryingShop) -> None:
    engine = treated(shop, ranked(shop, onError="fail"))
    await fail(shop, "resets")
    await fail(shop, "resets", "basket-ranker")
    response = await engine.post(CART)
    assert response.status_code == 503
    figures = await serving(engine)
    assert (figures.requests, figures.served, figures.errors, figures.degraded) == (1, 0, 1, 0)
    assert sum(figures.latency.counts) == 1


async def test_an_answer_that_fails_behind_the_variant_is_its_error_too(shop: TryingShop) -> None:
    """Whatever follows may hang on what it said, so a guardrail has to see it."""
    graph = (
        shop.basket()
        .rank(model="basket-ranker")
        .keep("odd", "1 / (candidate.sold - candidate.sold) > 0", onError="fail")
    )
    engine = treated(shop, graph.select())
    assert (await engine.post(CART)).status_code == 503
    figures = await serving(engine)
    assert (figures.requests, figures.served, figures.errors) == (1, 1, 1)


async def test_a_step_that_was_never_reached_is_no_error_of_a_variant(shop: TryingShop) -> None:
    for name in ("item-cooccurrence", "buy-it-again"):
        await fail(shop, "refuses", name)
    engine = treated(shop, ranked(shop).with_(fallback=[{"catalogue": {"orderBy": "sold"}}]))
    answer = await engine.ask(**CART)
    assert answer["experiments"]["x"] == {"variant": "treatment", "reason": "assigned", "served": None}
    figures = await serving(engine)
    assert (figures.requests, figures.served, figures.errors, figures.degraded) == (1, 0, 0, 1)


async def test_a_variant_that_is_down_is_left_alone_and_asked_again_a_second_later(shop: TryingShop) -> None:
    """However slow the machine is: no more calls than seconds that passed, and one that they began with."""
    engine = treated(shop, ranked(shop))
    challenger = shop.models[CHALLENGER]
    challenger.behaviour = "status_500"
    for _ in range(5):
        assert (await engine.ask(**CART))["experiments"]["x"] == STANDS_IN
    assert len(challenger.calls) == 5
    opened = time.monotonic()
    said = (await engine.explain(**CART))["rank"]["experiments"][0]["failure"]
    assert "left alone" in said or time.monotonic() - opened > 1.0
    for _ in range(40):
        assert (await engine.ask(**CART))["experiments"]["x"] == STANDS_IN
        await asyncio.sleep(0.03)
    assert 5 < len(challenger.calls) <= 6 + (time.monotonic() - opened)
    challenger.behaviour = "well"
    while "served" in (await engine.ask(**CART))["experiments"]["x"]:
        assert time.monotonic() - opened < 60.0
        await asyncio.sleep(0.03)
    before = len(challenger.calls)
    for _ in range(3):
        assert "served" not in (await engine.ask(**CART))["experiments"]["x"]
    assert len(challenger.calls) == before + 3


async def test_a_success_in_between_keeps_the_breaker_closed(shop: TryingShop) -> None:
    engine = treated(shop, ranked(shop))
    challenger = shop.models[CHALLENGER]
    for place in range(12):
        challenger.behaviour = "well" if place % 5 == 4 else "status_500"
        await engine.ask(**CART)
    assert len(challenger.calls) == 12


async def test_the_breaker_of_one_variant_leaves_the_others_alone(shop: TryingShop) -> None:
    both = [
        {"name": "control", "baseline": True, "buckets": [], "weight": 0},
        {"name": "down", "model": CHALLENGER, "buckets": ["0-5000"], "weight": 5000},
        {"name": "up", "by": "candidate.price", "buckets": ["5000-10000"], "weight": 5000},
    ]
    engine = shop.trying(ranked(shop), x=experiment(variants=both))
    await fail(shop, "refuses")
    seen = set()
    for unit in range(60):
        said = (await engine.ask(**{**CART, "customer": str(unit)}))["experiments"]["x"]
        seen.add((said["variant"], said.get("served")))
    assert seen == {("down", "control"), ("up", None)}
