# SPDX-License-Identifier: Apache-2.0
"""Whatever a model does wrong, and whatever onError says: the answer is the one that was asked for, and it says so."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from graphs import Graph
from shop import Shop, degraded, products
from upstreams import FAILURES, Behaviour

CART = {"customer": "1467", "cart": ["Paper plates", "Paper napkins"], "store": "330"}
LADDER = [{"catalogue": {"orderBy": "sold"}}, {"empty": {}}]
BEST_SOLD = ["Milk", "Paper plates", "Plastic cups"]
# By reciprocal rank fusion of both recalls, and of each alone.
FUSED = ["Ice cream", "Plastic cutlery", "Milk", "Balloons", "Gift wrap", "Plastic cups"]
TOGETHER = ["Plastic cutlery", "Balloons", "Gift wrap", "Ice cream", "Plastic cups"]
BY_PRICE = ["Ice cream", "Gift wrap", "Plastic cutlery", "Balloons", "Plastic cups", "Milk"]
FAST = "100ms"

KINDS = {"model": "micro-intent", "recall": "buy-it-again", "rank": "basket-ranker"}
STEP = {"model": "intent", "recall": "buy-again", "rank": "rank"}
EVERY_FAILURE = sorted({**FAILURES, "ragged": "malformed"})


@pytest.fixture
async def shop(tmp_path: Path) -> AsyncIterator[Shop]:
    async with Shop(tmp_path) as shop:
        yield shop


def graph(shop: Shop, kind: str, on_error: str) -> Graph:
    """Intent, two recalls and a rank; only the step of `kind` has an onError that is not its default."""
    chosen = {kind: {"onError": on_error}}
    return (
        shop.graph()
        .ask("intent", "micro-intent", timeout=FAST, **chosen.get("model", {}))
        .recall("together", "item-cooccurrence", timeout=FAST)
        .recall("buy-again", "buy-it-again", timeout=FAST, **chosen.get("recall", {}))
        .rank(model="basket-ranker", timeout=FAST, **chosen.get("rank", {}))
        .select("3")
    )


async def fail(shop: Shop, kind: str, behaviour: Behaviour) -> None:
    upstream = shop.models[KINDS[kind]]
    upstream.behaviour = behaviour
    if behaviour == "refuses":
        await upstream.refuse()


def cases(*on_errors: tuple[str, str]) -> list[tuple[str, str, str]]:
    return [
        (kind, on_error, behaviour)
        for kind, on_error in on_errors
        for behaviour in EVERY_FAILURE
        if kind == "recall" or behaviour != "ragged"
    ]


@pytest.mark.parametrize(
    ("kind", "on_error", "behaviour"), cases(("model", "skip"), ("recall", "skip"), ("rank", "keepOrder"))
)
async def test_a_step_that_may_fail_is_left_out_and_named(
    shop: Shop, kind: str, on_error: str, behaviour: Behaviour
) -> None:
    engine = shop.engine(graph(shop, kind, on_error))
    await fail(shop, kind, behaviour)
    started = time.monotonic()
    answer = await engine.ask(**CART)
    assert time.monotonic() - started < 1.5
    assert list(degraded(answer)) == [STEP[kind]]
    assert ("intent" in answer) == (kind != "model")
    expected = {"model": BY_PRICE, "recall": [p for p in BY_PRICE if p != "Milk"], "rank": FUSED}
    assert products(answer) == expected[kind][:3]
    assert STEP[kind] not in answer["served_by"]
    called = FAILURES.get(behaviour, "malformed")
    assert engine.counted("step_failures_total", graph="basket", step=STEP[kind], kind=called) == 1
    assert engine.counted("graph_degraded_total", graph="basket", step=STEP[kind]) == 1
    assert engine.counted("upstream_calls_total", graph="basket", model=KINDS[kind], outcome=called) == 1


@pytest.mark.parametrize(
    ("kind", "on_error", "behaviour"), cases(("model", "fail"), ("recall", "fail"), ("rank", "fail"))
)
async def test_a_step_that_must_not_fail_hands_over_to_the_fallback(
    shop: Shop, kind: str, on_error: str, behaviour: Behaviour
) -> None:
    engine = shop.engine(graph(shop, kind, on_error).with_(fallback=LADDER))
    await fail(shop, kind, behaviour)
    answer = await engine.ask(**CART)
    assert products(answer) == BEST_SOLD
    assert list(degraded(answer)) == [STEP[kind]]
    assert answer["served_by"]["fallback"] == "catalogue@1"
    assert {source for each in answer["recommendations"] for source in each["sources"]} == {"catalogue"}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("behaviour", ["refuses", "hangs", "resets", "status_500", "malformed_json"])
async def test_without_a_fallback_the_refusal_names_the_step(
    shop: Shop, kind: str, behaviour: Behaviour
) -> None:
    engine = shop.engine(graph(shop, kind, "fail"))
    await fail(shop, kind, behaviour)
    response = await engine.post(CART)
    assert response.status_code == 503
    assert response.headers["retry-after"] == "1"
    assert response.headers["content-type"] == "application/problem+json"
    assert [error["field"] for error in response.json()["errors"]] == [STEP[kind]]


async def test_a_timeout_is_told_in_milliseconds(shop: Shop) -> None:
    engine = shop.engine(graph(shop, "recall", "skip"))
    await fail(shop, "recall", "hangs")
    assert degraded(await engine.ask(**CART)) == {"buy-again": "timeout after 100 ms"}


async def test_a_model_that_says_itself_that_the_time_is_up_is_a_timeout_too(shop: Shop) -> None:
    engine = shop.engine(graph(shop, "recall", "skip"))
    shop.models["buy-it-again"].delay = 0.08
    await fail(shop, "recall", "late_504")
    assert degraded(await engine.ask(**CART)) == {"buy-again": "timeout after 100 ms"}
    assert engine.counted("step_failures_total", graph="basket", step="buy-again", kind="timeout") == 1


async def test_a_504_long_before_the_deadline_stays_what_it_was(shop: Shop) -> None:
    step = (
        shop.graph().recall("together", "item-cooccurrence").recall("buy-again", "buy-it-again", timeout="5s")
    )
    engine = shop.engine(step.select("3").with_(deadline="5s"))
    await fail(shop, "recall", "status_504")
    assert degraded(await engine.ask(**CART)) == {"buy-again": "answered 504"}


# A division by zero for every candidate, and a read of a step that did not answer.
NO_VALUE = "1 / (candidate.sold - candidate.sold)"
EXPRESSIONS: dict[str, dict[str, Any]] = {
    "filter": {"filter": {"keep": f"{NO_VALUE} > 0"}},
    "filter-unavailable": {"filter": {"keep": "intent.confidence > 0.5 && candidate.price > 0.0"}},
    "filter-recall": {"filter": {"drop": "candidate.buy_again.times > 100"}},
    "rank": {"rank": {"by": NO_VALUE}},
    "rank-nan": {"rank": {"by": "candidate.price * 0.0 / 0.0"}},
    "rank-infinite": {"rank": {"by": "candidate.price / 0.0"}},
    "rank-unavailable": {"rank": {"by": "candidate.price * intent.confidence"}},
    "limit": {"limit": {"per": NO_VALUE, "max": 1}},
    "limit-unavailable": {"limit": {"per": "candidate.category + intent.name", "max": 1}},
}


def without_models(shop: Shop, case: str, on_error: str) -> Graph:
    """A step of expressions alone, behind an intent and a recall that are both skipped."""
    return (
        shop.graph()
        .ask("intent", "micro-intent", timeout=FAST)
        .recall("together", "item-cooccurrence")
        .recall("buy-again", "buy-it-again", timeout=FAST)
        .step("rule", onError=on_error, **EXPRESSIONS[case])
        .select("3")
    )


async def both_down(shop: Shop) -> None:
    await shop.models["micro-intent"].refuse()
    await shop.models["buy-it-again"].refuse()


@pytest.mark.parametrize("case", EXPRESSIONS)
async def test_a_rule_without_a_value_is_left_out_and_named(shop: Shop, case: str) -> None:
    on_error = "keepOrder" if case.startswith("rank") else "skip"
    engine = shop.engine(without_models(shop, case, on_error))
    await both_down(shop)
    answer = await engine.ask(**CART)
    assert list(degraded(answer)) == ["intent", "buy-again", "rule"]
    assert products(answer) == TOGETHER[:3]
    if case.endswith("unavailable"):
        assert degraded(answer)["rule"] == "reads intent, which did not answer"
    if case.endswith("recall"):
        assert degraded(answer)["rule"] == "reads buy-again, which did not answer"


async def test_a_rank_goes_on_without_a_dead_source_as_for_what_the_source_does_not_know(shop: Shop) -> None:
    by = "candidate.together.score * 10.0 + candidate.buy_again.score"
    graph = (
        shop.graph()
        .recall("together", "item-cooccurrence")
        .recall("buy-again", "buy-it-again", timeout=FAST)
        .step("rule", onError="fail", rank={"by": f"-1.0 * ({by})"})
        .select("3")
    )
    engine = shop.engine(graph)
    await shop.models["buy-it-again"].refuse()
    answer = await engine.ask(**CART)
    assert list(degraded(answer)) == ["buy-again"]
    assert products(answer) == TOGETHER[::-1][:3]


@pytest.mark.parametrize("case", EXPRESSIONS)
async def test_a_rule_that_must_hold_hands_over_to_the_fallback(shop: Shop, case: str) -> None:
    engine = shop.engine(without_models(shop, case, "fail").with_(fallback=LADDER))
    await both_down(shop)
    answer = await engine.ask(**CART)
    assert "rule" in degraded(answer)
    if case.startswith("filter"):
        # The filter cannot run on the fallback's candidates either: nobody checked them, so nobody sees them.
        assert products(answer) == []
        assert degraded(answer)["fallback"].startswith("catalogue: ")
    else:
        assert products(answer) == BEST_SOLD


@pytest.mark.parametrize("case", EXPRESSIONS)
async def test_a_rule_that_must_hold_refuses_without_a_fallback(shop: Shop, case: str) -> None:
    engine = shop.engine(without_models(shop, case, "fail"))
    await both_down(shop)
    response = await engine.post(CART)
    assert response.status_code == 503
    assert "rule" in [error["field"] for error in response.json()["errors"]]


async def test_a_negative_count_hands_over_and_only_an_empty_rung_can_answer(shop: Shop) -> None:
    graph = shop.basket().select("request.limit - 10")
    response = await shop.engine(graph).post({**CART, "limit": 9})
    assert response.status_code == 503
    assert response.json()["errors"] == [
        {"field": "top", "message": "count is -1: request.limit - 10 is never below 0"}
    ]
    answer = await shop.engine(graph.with_(fallback=LADDER)).ask(**{**CART, "limit": 9})
    assert products(answer) == []
    assert answer["served_by"]["fallback"] == "empty"
    assert list(degraded(answer)) == ["top"]
    assert len(products(await shop.engine(graph).ask(**{**CART, "limit": 12}))) == 2
