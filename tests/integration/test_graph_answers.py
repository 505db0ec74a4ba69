# SPDX-License-Identifier: Apache-2.0
"""What a graph answers when all is well, and what it does when there is too little."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from shop import Shop, degraded, products

CART = {"customer": "1467", "cart": ["Paper plates", "Paper napkins"], "store": "330"}


@pytest.fixture
async def shop(tmp_path: Path) -> AsyncIterator[Shop]:
    async with Shop(tmp_path) as shop:
        yield shop


async def test_products_come_with_reasons_and_sources(shop: Shop) -> None:
    answer = await shop.engine(shop.basket().select("3")).ask(**CART)
    assert list(answer) == ["request_id", "customer", "recommendations", "served_by", "degraded", "took_ms"]
    assert answer["customer"] == "1467"
    assert answer["recommendations"] == [
        {
            "position": 1,
            "product": "Ice cream",
            "reason": "You bought it 7 times",
            "sources": ["together", "buy-again"],
        },
        {
            "position": 2,
            "product": "Plastic cutlery",
            "reason": "Bought together with Paper napkins in 1,670 baskets",
            "sources": ["together"],
        },
        {"position": 3, "product": "Milk", "reason": "You bought it 12 times", "sources": ["buy-again"]},
    ]
    assert answer["served_by"] == {"together": "item-cooccurrence@4", "buy-again": "buy-it-again@4"}
    assert answer["degraded"] == []


async def test_models_get_keys_and_people_get_names(shop: Shop) -> None:
    await shop.engine(shop.basket().select("3")).ask(**CART)
    (call,) = shop.models["item-cooccurrence"].calls
    assert call.columns == {"cart": [["1", "3"]]}


async def test_an_input_takes_the_expression_that_it_is_given(shop: Shop) -> None:
    graph = shop.graph().recall("again", "buy-it-again", inputs={"customer": "'h-' + request.customer"})
    await shop.engine(graph.select()).ask(**CART)
    assert shop.models["buy-it-again"].calls[0].columns == {"customer": ["h-1467"]}


async def test_a_recall_takes_no_more_than_its_top(shop: Shop) -> None:
    graph = shop.graph().recall("together", "item-cooccurrence", top=2).select()
    assert products(await shop.engine(graph).ask(**CART)) == ["Plastic cutlery", "Balloons"]


async def test_items_that_the_catalogue_does_not_know_are_left_out(shop: Shop) -> None:
    shop.models["buy-it-again"].answer = lambda _: {
        "item": [["99", "8"]],
        "times": [[9, 1]],
        "score": [[0.9, 0.1]],
    }
    graph = shop.graph().recall("again", "buy-it-again").select()
    assert products(await shop.engine(graph).ask(**CART)) == ["Milk"]


async def test_what_a_model_step_says_is_read_by_steps_and_shown(shop: Shop) -> None:
    graph = (
        shop.basket()
        .ask("intent", "micro-intent")
        .keep("party", "candidate.category == 'party' || intent.name != 'party supplies'")
        .select()
    )
    answer = await shop.engine(graph).ask(**CART)
    assert answer["intent"] == {"name": "party supplies", "confidence": 0.6214}
    assert products(answer) == ["Plastic cutlery", "Balloons", "Plastic cups"]


async def test_no_vector_of_a_model_step_reaches_the_answer(shop: Shop) -> None:
    upstream = shop.models["micro-intent"]
    outputs = [
        {"name": "embedding", "type": "array", "items": {"type": "number"}},
        {"name": "because", "type": "array", "items": {"type": "product"}},
    ]
    upstream.outputs = [type(upstream.outputs[0])(**output) for output in outputs]
    upstream.answer = lambda _: {"embedding": [[0.1, 0.2]], "because": [["3", "1"]]}
    graph = (
        shop.basket()
        .ask("intent", "micro-intent")
        .model("micro-intent", upstream.contract.url, outputs=outputs, inputs=[])
    )
    graph.models["micro-intent"]["inputs"] = [{"name": "cart", "type": "array", "items": {"type": "product"}}]
    answer = await shop.engine(graph.select()).ask(**CART)
    assert answer["intent"] == {"because": ["Paper napkins", "Paper plates"]}
    assert "0.1" not in json.dumps(answer["intent"])


async def test_a_learned_rank_orders_and_is_named(shop: Shop) -> None:
    engine = shop.engine(shop.basket().rank(model="basket-ranker").select("3"))
    answer = await engine.ask(**CART)
    assert products(answer) == ["Ice cream", "Gift wrap", "Plastic cutlery"]
    response = await engine.post(CART)
    assert response.headers["endcap-served-by"].endswith("rank=basket-ranker@4")


async def test_a_rank_by_expression_orders(shop: Shop) -> None:
    graph = shop.basket().rank(by="0.0 - candidate.price").select("2")
    assert products(await shop.engine(graph).ask(**CART)) == ["Milk", "Plastic cups"]


async def test_filters_keep_and_drop_and_say_what_went(shop: Shop) -> None:
    graph = (
        shop.basket()
        .keep("in-store", "request.store in candidate.stores")
        .drop("not-in-cart", "candidate.name in request.cart")
        .select()
    )
    said = await shop.engine(graph).explain(**{**CART, "cart": ["Plastic cups"]})
    assert said["merge"] | {"ms": 0} == {
        "step": "merge",
        "rule": "distinct candidates by reciprocal rank fusion",
        "candidates_in": 7,
        "kept": 6,
        "removed": 1,
        "ms": 0,
    }
    assert said["in-store"]["removed_products"] == ["Gift wrap"]
    assert said["in-store"]["rule"] == "keep request.store in candidate.stores"
    assert (said["not-in-cart"]["candidates_in"], said["not-in-cart"]["kept"]) == (5, 4)
    assert said["not-in-cart"]["removed_products"] == ["Plastic cups"]
    assert said["together"]["model"] == "item-cooccurrence@4"


async def test_a_limit_keeps_variety(shop: Shop) -> None:
    graph = shop.basket().limit("variety", "candidate.category", 1).select()
    assert products(await shop.engine(graph).ask(**CART)) == [
        "Ice cream",
        "Plastic cutlery",
        "Milk",
        "Gift wrap",
    ]


async def test_back_fill_puts_back_what_limits_removed_in_order_then_takes_from_the_fallback(
    shop: Shop,
) -> None:
    graph = (
        shop.basket()
        .limit("variety", "candidate.category", 1)
        .drop("not-in-cart", "candidate.name in request.cart")
        .select("7", backfill=True)
        .with_(fallback=[{"model": "popularity"}, {"catalogue": {"orderBy": "sold"}}, {"empty": {}}])
    )
    answer = await shop.engine(graph).ask(**{**CART, "cart": ["Paper plates", "Balloons"]})
    # Balloons were removed by the limit and are in the cart; paper plates are popular and in the cart.
    assert products(answer) == [
        "Ice cream", "Plastic cutlery", "Milk", "Gift wrap", "Plastic cups", "Paper napkins",
    ]  # fmt: skip
    assert [each["sources"][0] for each in answer["recommendations"][4:]] == ["together", "catalogue"]
    assert answer["recommendations"][-1]["reason"] == "Among the first by sold"
    assert answer["degraded"] == []
    assert [each["position"] for each in answer["recommendations"]] == [1, 2, 3, 4, 5, 6]


async def test_back_fill_survives_a_dead_fallback_and_says_so(shop: Shop) -> None:
    await shop.models["popularity"].refuse()
    graph = shop.basket().select("7", backfill=True).with_(fallback=[{"model": "popularity"}])
    answer = await shop.engine(graph).ask(**CART)
    assert len(answer["recommendations"]) == 6
    assert list(degraded(answer)) == ["fallback"]
    assert degraded(answer)["fallback"].startswith("popularity: ")


async def test_the_ladder_takes_the_next_rung_when_one_fails(shop: Shop) -> None:
    await shop.models["popularity"].refuse()
    await shop.models["item-cooccurrence"].refuse()
    await shop.models["buy-it-again"].refuse()
    ladder = [{"model": "popularity"}, {"catalogue": {"orderBy": "sold"}}, {"empty": {}}]
    answer = await shop.engine(shop.basket().select("2").with_(fallback=ladder)).ask(**CART)
    assert products(answer) == ["Milk", "Paper plates"]
    assert list(degraded(answer)) == ["together", "buy-again", "fallback"]
    assert answer["served_by"] == {"fallback": "catalogue@1"}


async def test_a_rung_that_has_nothing_hands_over_to_the_next(shop: Shop) -> None:
    await shop.models["item-cooccurrence"].refuse()
    await shop.models["buy-it-again"].refuse()
    shop.models["popularity"].answer = lambda _: {"item": [[]], "score": [[]]}
    ladder = [{"model": "popularity"}, {"catalogue": {"orderBy": "sold"}}]
    answer = await shop.engine(shop.basket().select("1").with_(fallback=ladder)).ask(**CART)
    assert products(answer) == ["Milk"]
    assert list(degraded(answer)) == ["together", "buy-again"]


async def test_the_catalogue_rung_looks_beyond_its_first_thousand(tmp_path: Path) -> None:
    item = {"category": "many", "price": 1.0, "stores": ["7"]}
    items = [{**item, "id": str(n), "name": f"Thing {n}", "sold": 5000 - n} for n in range(1500)]
    items[1400]["stores"] = ["330"]
    async with Shop(tmp_path, items=items) as shop:
        await shop.models["buy-it-again"].refuse()
        graph = (
            shop.graph()
            .recall("again", "buy-it-again")
            .keep("in-store", "request.store in candidate.stores")
            .select("3")
            .with_(fallback=[{"catalogue": {"orderBy": "sold"}}])
        )
        assert products(await shop.engine(graph).ask(**{**CART, "cart": []})) == ["Thing 1400"]


async def test_the_fallback_model_answers_through_the_filters(shop: Shop) -> None:
    await shop.models["item-cooccurrence"].refuse()
    await shop.models["buy-it-again"].refuse()
    graph = (
        shop.basket()
        .keep("in-store", "request.store in candidate.stores")
        .select()
        .with_(fallback=[{"model": "popularity"}, {"empty": {}}])
    )
    answer = await shop.engine(graph).ask(**CART)
    assert products(answer) == ["Milk", "Paper plates", "Plastic cups"]
    assert answer["served_by"] == {"fallback": "popularity@4"}
    assert answer["recommendations"][0]["sources"] == ["popularity"]
    assert answer["recommendations"][0]["reason"] == "Suggested by popularity"


async def test_recalls_that_find_nothing_are_named_when_the_fallback_answers(shop: Shop) -> None:
    empty = {"item": [[]], "score": [[]]}
    shop.models["item-cooccurrence"].answer = lambda _: empty | {"because": [[]], "baskets": [[]]}
    shop.models["buy-it-again"].answer = lambda _: empty | {"times": [[]]}
    graph = shop.basket().select("1").with_(fallback=[{"catalogue": {"orderBy": "sold"}}])
    answer = await shop.engine(graph).ask(**CART)
    assert products(answer) == ["Milk"]
    assert degraded(answer) == {"together": "found no candidates", "buy-again": "found no candidates"}


async def test_recalls_that_find_nothing_without_a_fallback_are_an_empty_answer(shop: Shop) -> None:
    shop.models["buy-it-again"].answer = lambda _: {"item": [[]], "times": [[]], "score": [[]]}
    answer = await shop.engine(shop.graph().recall("again", "buy-it-again").select()).ask(**CART)
    assert products(answer) == []
    assert answer["degraded"] == []


async def test_dead_recalls_without_a_fallback_are_a_refusal_that_names_them(shop: Shop) -> None:
    await shop.models["buy-it-again"].refuse()
    response = await shop.engine(shop.graph().recall("again", "buy-it-again").select()).post(CART)
    assert response.status_code == 503
    assert [error["field"] for error in response.json()["errors"]] == ["again"]


async def test_an_empty_rung_answers_when_everything_is_down(shop: Shop) -> None:
    for upstream in shop.models.values():
        await upstream.refuse()
    answer = await shop.engine(shop.basket().select().with_(fallback=[{"empty": {}}])).ask(**CART)
    assert products(answer) == []
    assert list(degraded(answer)) == ["together", "buy-again"]


async def test_steps_beside_each_other_run_together(shop: Shop) -> None:
    for name in ("item-cooccurrence", "buy-it-again"):
        shop.models[name].behaviour, shop.models[name].delay = "slow", 0.3
    graph = shop.graph().recall("together", "item-cooccurrence").recall("again", "buy-it-again")
    said = await shop.engine(graph.select()).explain(**CART)
    # Each takes 300 ms; one after the other they would not fit into the deadline of half a second.
    answer = await shop.engine(graph.select().with_(deadline="500ms")).ask(**CART)
    assert answer["degraded"] == []
    assert min(said["together"]["ms"], said["again"]["ms"]) >= 290


async def test_a_step_waits_for_what_it_reads_only(shop: Shop) -> None:
    intent = shop.models["micro-intent"]
    intent.behaviour, intent.delay = "slow", 0.2
    graph = (
        shop.graph()
        .ask("intent", "micro-intent")
        .recall("together", "item-cooccurrence")
        .recall("again", "buy-it-again", inputs={"customer": "intent.name"})
        .select()
    )
    said = await shop.engine(graph).explain(**CART)
    assert said["together"]["ms"] < 150
    assert shop.models["buy-it-again"].calls[0].columns == {"customer": ["party supplies"]}


async def test_the_deadline_is_passed_on_in_what_is_left(shop: Shop) -> None:
    graph = (
        shop.graph().recall("together", "item-cooccurrence", timeout="80ms").recall("again", "buy-it-again")
    )
    await shop.engine(graph.select().with_(deadline="300ms")).ask(**CART)
    assert 0 < int(shop.models["item-cooccurrence"].calls[0].headers["endcap-timeout-ms"]) <= 80
    assert 80 < int(shop.models["buy-it-again"].calls[0].headers["endcap-timeout-ms"]) <= 300


async def test_an_exhausted_deadline_answers_with_what_there_is(shop: Shop) -> None:
    for name in ("buy-it-again", "basket-ranker"):
        shop.models[name].behaviour = "hangs"
    graph = (
        shop.graph()
        .recall("together", "item-cooccurrence")
        .recall("again", "buy-it-again")
        .rank(model="basket-ranker")
        .select("2")
        .with_(deadline="100ms")
    )
    answer = await shop.engine(graph).ask(**CART)
    assert products(answer) == ["Plastic cutlery", "Balloons"]
    assert list(degraded(answer)) == ["again", "rank"]
    assert degraded(answer)["again"].startswith("timeout after ")
    assert degraded(answer)["rank"] == "no time was left"
    assert answer["took_ms"] < 1000


async def test_the_request_id_and_the_trace_reach_the_models(shop: Shop) -> None:
    engine = shop.engine(shop.basket().select())
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    response = await engine.send(json.dumps(CART).encode(), **{"x-request-id": "abc-1", "traceparent": trace})
    assert response.headers["x-request-id"] == "abc-1"
    assert response.json()["request_id"] == "abc-1"
    call = shop.models["item-cooccurrence"].calls[0]
    assert (call.headers["x-request-id"], call.headers["traceparent"]) == ("abc-1", trace)


async def test_back_fill_is_told_as_what_was_put_back(shop: Shop) -> None:
    graph = shop.basket().limit("variety", "candidate.category", 1).select("7", backfill=True)
    ladder = [{"model": "popularity"}, {"catalogue": {"orderBy": "sold"}}]
    engine = shop.engine(graph.with_(fallback=ladder))
    said = await engine.explain(**CART)
    top = said["top"]
    # The limit removed two, and popularity knows one more product that no recall found.
    assert (top["candidates_in"], top["kept"], top["backfilled"], top["removed"]) == (4, 7, 3, 0)
    assert (said["fallback"]["kept"], said["fallback"]["model"]) == (1, "popularity@4")
    assert said["fallback"]["ms"] > 0


async def test_every_rung_that_filled_up_is_named(shop: Shop) -> None:
    ladder = [{"model": "popularity"}, {"catalogue": {"orderBy": "sold"}}]
    graph = shop.basket().select("8", backfill=True).with_(fallback=ladder)
    assert (await shop.engine(graph).ask(**CART))["served_by"]["fallback"] == "popularity@4+catalogue@1"


async def test_an_empty_answer_is_the_empty_rungs(shop: Shop) -> None:
    await shop.models["micro-intent"].refuse()
    ladder = [{"catalogue": {"orderBy": "sold"}}, {"empty": {}}]
    graph = shop.basket().ask("intent", "micro-intent").keep("sure", "intent.confidence > 0.5").select()
    answer = await shop.engine(graph.with_(fallback=ladder)).ask(**CART)
    assert products(answer) == []
    assert answer["served_by"]["fallback"] == "empty"


async def test_a_fallback_that_adds_nothing_is_not_named(shop: Shop) -> None:
    graph = shop.basket().keep("dairy", "candidate.category == 'dairy'").select("900", backfill=True)
    engine = shop.engine(graph.with_(fallback=[{"catalogue": {"orderBy": "sold"}}]))
    assert "fallback" not in (await engine.ask(**CART))["served_by"]
    said = await engine.explain(**CART)
    assert (said["top"]["kept"], said["top"]["backfilled"]) == (1, 0)
    assert said["fallback"]["kept"] == 0


async def test_a_recall_that_finds_nothing_beside_one_that_does_is_normal(shop: Shop) -> None:
    shop.models["buy-it-again"].answer = lambda _: {"item": [[]], "times": [[]], "score": [[]]}
    graph = shop.basket().select("8", backfill=True).with_(fallback=[{"catalogue": {"orderBy": "sold"}}])
    assert (await shop.engine(graph).ask(**CART))["degraded"] == []


def some_unknown(shop: Shop, *items: str) -> None:
    size = len(items)
    shop.models["buy-it-again"].answer = lambda _: {
        "item": [list(items)],
        "times": [[1] * size],
        "score": [[0.5] * size],
    }


async def test_items_that_the_catalogue_does_not_know_are_told_and_counted(shop: Shop) -> None:
    some_unknown(shop, "99", "8", "98")
    engine = shop.engine(shop.graph().recall("again", "buy-it-again").select())
    said = await engine.explain(**CART)
    assert (said["again"]["kept"], said["again"]["unknown_items"]) == (1, 2)
    assert (said["merge"]["candidates_in"], said["merge"]["removed"]) == (1, 0)
    assert engine.counted("unknown_items_total", graph="basket", step="again") == 2


async def test_when_the_catalogue_knows_none_of_the_items_the_fallback_answers(shop: Shop) -> None:
    some_unknown(shop, "99", "98")
    graph = shop.graph().recall("again", "buy-it-again").select("1")
    answer = await shop.engine(graph.with_(fallback=[{"catalogue": {"orderBy": "sold"}}])).ask(**CART)
    assert products(answer) == ["Milk"]
    assert degraded(answer) == {"again": "found no candidates: the catalogue knows none of 2 items"}
