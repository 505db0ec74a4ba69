# SPDX-License-Identifier: Apache-2.0
"""A graph with a real sidecar and a real Redis: what its steps read, and how often it asks."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import jsonschema
import pytest
from graphs import Graph
from shop import Engine, Shop, degraded, products
from shop_features import FeatureShop

CART = {"customer": "1467", "cart": ["Paper plates", "Paper napkins"], "store": "330"}


@pytest.fixture
async def features(tmp_path: Path) -> AsyncIterator[FeatureShop]:
    async with FeatureShop(tmp_path / "features") as features:
        yield features


@pytest.fixture
async def shop(tmp_path: Path, features: FeatureShop) -> AsyncIterator[Shop]:
    async with Shop(tmp_path, socket=features.socket) as shop:
        yield shop


def basket(shop: Shop, features: FeatureShop) -> Graph:
    """Cutlery, balloons, gift wrap, ice cream and cups, with the features of the shop at hand."""
    return shop.graph().features_of(features.config).recall("together", "item-cooccurrence")


def lookups(engine: Engine, outcome: str = "ok") -> float:
    return engine.counted("graph_lookups_total", graph="basket", outcome=outcome)


async def test_a_rank_and_a_filter_read_the_features_of_the_request_and_of_candidates(
    shop: Shop, features: FeatureShop
) -> None:
    await features.know("customer-profile", ["1467"], budget=3.2, segment="family")
    await features.know("product-stats", ["2"], margin=0.9, views=7)
    await features.know("product-stats", ["5"], margin=0.4, sellable=False)
    await features.know("product-stats", ["4"], margin=0.5)
    graph = (
        basket(shop, features)
        .looks_up("customer", "customer", entity="request.customer")
        .looks_up("product", "product", entity="candidate.id")
        .keep("affordable", "candidate.price < customer.budget && candidate.product.sellable")
        .rank(by="candidate.product.margin + (customer.segment == 'family' ? 1.0 : 0.0)")
        .select()
    )
    engine = shop.engine(graph)
    answer = await engine.ask(**CART)
    assert products(answer) == ["Plastic cups", "Plastic cutlery"]
    assert answer["degraded"] == []
    assert lookups(engine) == 1


async def test_a_model_ranks_by_features(shop: Shop, features: FeatureShop) -> None:
    await features.know("product-stats", ["7"], margin=0.75, views=40)
    await features.know("customer-profile", ["1467"], visits=3)
    graph = (
        basket(shop, features)
        .looks_up("customer", "customer", entity="request.customer")
        .looks_up("product", "product", entity="candidate.id")
        .rank(model="basket-ranker", inputs={"price": "candidate.product.margin", "sold": "customer.visits"})
        .select("1")
    )
    assert products(await shop.engine(graph).ask(**CART)) == ["Gift wrap"]
    (call,) = shop.models["basket-ranker"].calls
    assert call.columns["price"] == [0.0, 0.0, 0.75, 0.0, 0.0]
    assert set(call.columns["sold"]) == {3}


async def test_lists_and_texts_of_candidates_are_read(shop: Shop, features: FeatureShop) -> None:
    await features.know("product-stats", ["4"], tags=["green", "cheap"], brand="Acme")
    await features.know("product-stats", ["5"], tags=["cheap"], brand="Acme")
    await features.know("customer-profile", ["1467"], likes=["green"])
    graph = (
        basket(shop, features)
        .looks_up("customer", "customer", entity="request.customer")
        .looks_up("product", "product", entity="candidate.id")
        .keep("brand", "candidate.product.brand == 'Acme'")
        .keep("tags", "'green' in candidate.product.tags && size(candidate.product.tags) == 2")
        .keep("likes", "'green' in customer.likes")
        .select()
    )
    assert products(await shop.engine(graph).ask(**CART)) == ["Plastic cutlery"]


async def test_an_entity_of_two_keys_takes_one_from_the_request_and_one_from_the_candidate(
    shop: Shop, features: FeatureShop
) -> None:
    await features.know("pair-affinity", ["1467", "6"], affinity=0.9)
    await features.know("pair-affinity", ["1468", "2"], affinity=0.9)
    keys = {"customer_id": "request.customer", "product_id": "candidate.id"}
    graph = (
        basket(shop, features)
        .looks_up("pair", "pair", keys=keys)
        .rank(by="candidate.pair.affinity")
        .select("1")
    )
    engine = shop.engine(graph)
    assert products(await engine.ask(**CART)) == ["Ice cream"]
    assert products(await engine.ask(**{**CART, "customer": "1468"})) == ["Plastic cups"]


async def test_a_product_of_the_request_is_looked_up_by_its_key(shop: Shop, features: FeatureShop) -> None:
    await features.know("product-stats", ["8"], brand="Meadow")
    graph = (
        basket(shop, features)
        .field("seen", type="product")
        .looks_up("seen", "product", entity="request.seen")
        .keep("same", "seen.brand == 'Meadow'")
        .select()
    )
    engine = shop.engine(graph)
    assert len(products(await engine.ask(**CART, seen="milk"))) == 5
    assert products(await engine.ask(**CART, seen="Balloons")) == []


async def test_who_cannot_be_an_entity_has_the_defaults_of_the_unknown_and_no_step_is_degraded(
    shop: Shop, features: FeatureShop
) -> None:
    graph = (
        basket(shop, features)
        .looks_up("customer", "customer", entity="request.customer")
        .keep("new", "customer.segment == 'new'")
        .select()
    )
    engine = shop.engine(graph)
    for customer in ("", "{1467}", "x" * 129, "a\nb", "nobody"):
        answer = await engine.ask(**{**CART, "customer": customer})
        assert (len(products(answer)), answer["degraded"]) == (5, [])
    assert lookups(engine) == 1  # nobody alone could have been somebody


async def test_features_that_a_recall_reads_are_looked_up_before_and_candidates_in_a_second_call(
    shop: Shop, features: FeatureShop
) -> None:
    await features.know("customer-profile", ["1467"], segment="family")
    graph = (
        shop.graph()
        .features_of(features.config)
        .looks_up("customer", "customer", entity="request.customer")
        .recall("again", "buy-it-again", inputs={"customer": "customer.segment"})
        .looks_up("product", "product", entity="candidate.id")
        .keep("viewed", "candidate.product.views == 1")
        .select()
    )
    engine = shop.engine(graph)
    assert products(await engine.ask(**CART)) == ["Milk", "Ice cream"]
    assert shop.models["buy-it-again"].calls[0].columns == {"customer": ["family"]}
    assert lookups(engine) == 2


async def test_features_of_the_request_alone_are_one_call(shop: Shop, features: FeatureShop) -> None:
    await features.know("customer-profile", ["1467"], budget=3.2)
    graph = (
        basket(shop, features)
        .looks_up("customer", "customer", entity="request.customer")
        .looks_up("intent", "intent", entity="request.customer")
        .keep("affordable", "candidate.price < customer.budget && intent.last_intent == 'unknown'")
        .select("customer.visits + 2")
    )
    engine = shop.engine(graph)
    assert products(await engine.ask(**CART)) == ["Plastic cutlery", "Balloons"]
    assert lookups(engine) == 1


async def test_a_key_may_be_what_a_model_says(shop: Shop, features: FeatureShop) -> None:
    await features.know("customer-profile", ["party supplies"], budget=2.1)
    graph = (
        basket(shop, features)
        .ask("intent", "micro-intent")
        .looks_up("party", "customer", entity="intent.name")
        .keep("affordable", "candidate.price < party.budget")
        .select()
    )
    engine = shop.engine(graph)
    assert products(await engine.ask(**CART)) == ["Balloons", "Plastic cups"]
    shop.models["micro-intent"].behaviour = "status_500"
    answer = await engine.ask(**CART)
    assert degraded(answer)["party"] == "defaults: reads intent, which did not answer"
    assert products(answer) == ["Plastic cups"]


async def test_filters_hold_for_the_fallback_by_features_of_its_own_products(
    shop: Shop, features: FeatureShop
) -> None:
    await features.know("product-stats", ["8"], sellable=False)
    await features.know("customer-profile", ["1467"], budget=3.0)
    shop.models["item-cooccurrence"].behaviour = "status_500"
    graph = (
        basket(shop, features)
        .looks_up("customer", "customer", entity="request.customer")
        .looks_up("product", "product", entity="candidate.id")
        .keep("rule", "candidate.product.sellable && candidate.price < customer.budget")
        .select("2")
        .with_(fallback=[{"catalogue": {"orderBy": "sold"}}])
    )
    assert products(await shop.engine(graph).ask(**CART)) == ["Paper plates", "Plastic cups"]


async def test_an_explained_answer_is_what_the_openapi_document_says(
    shop: Shop, features: FeatureShop
) -> None:
    graph = (
        basket(shop, features)
        .looks_up("customer", "customer", entity="request.customer")
        .looks_up("product", "product", entity="candidate.id")
        .rank(by="candidate.product.margin + customer.budget")
        .select()
    )
    engine = shop.engine(graph)
    document = (await engine.get("/openapi.json")).json()
    answer = (await engine.post(CART, explain="true")).json()
    jsonschema.validate(answer, {**document, "$ref": "#/components/schemas/Answer"})
    named = document["components"]["schemas"]["FeatureUsed"]["properties"].keys()
    for line in answer["explain"]:
        for used in line.get("features", ()):
            assert used.keys() <= named
    page = (await engine.get("/docs")).text
    assert "look up product of candidate.id" in page
    assert "takes the defaults of its features" in page


async def test_explain_shows_the_features_with_what_they_are_worth_and_mean(
    shop: Shop, features: FeatureShop
) -> None:
    await features.know("customer-profile", ["1467"], budget=3.2)
    await features.know("product-stats", ["2"], margin=0.9)
    graph = (
        basket(shop, features)
        .looks_up("customer", "customer", entity="request.customer")
        .looks_up("product", "product", entity="candidate.id")
        .keep("affordable", "candidate.price < customer.budget || customer.clicks_1h > 3")
        .rank(by="candidate.product.margin")
        .select("2")
    )
    said = await shop.engine(graph).explain(**CART)
    assert said["customer"]["rule"] == "look up customer of request.customer"
    budget, clicks = said["customer"]["features"]
    assert budget == {
        "name": "budget",
        "value": 3.2,
        "status": "PRESENT",
        "description": "What they like to spend",
    }
    assert (clicks["name"], clicks["value"], clicks["status"]) == ("clicks_1h", 0, "DEFAULTED")
    assert clicks["window"].keys() == {"from", "to"}
    (margin,) = said["product"]["features"]
    assert margin["products"] == [
        {"product": "Plastic cups", "value": 0.9, "status": "PRESENT"},
        {"product": "Plastic cutlery", "value": 0.0, "status": "DEFAULTED"},
    ]
