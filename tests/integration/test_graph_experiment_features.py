# SPDX-License-Identifier: Apache-2.0
"""Experiments on a graph with features: variants read their own, in the one call, and write back nobody else's."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from graphs import CONTRACTS, Graph
from shop import Columns, Engine, products
from shop_exposures import TryingShop, experiment
from shop_features import FeatureShop

CART = {"customer": "1467", "cart": ["Paper plates", "Paper napkins"], "store": "330"}
INTENT = {"last_intent": "intent.name", "confidence": "intent.confidence"}


@pytest.fixture
async def features(tmp_path: Path) -> AsyncIterator[FeatureShop]:
    async with FeatureShop(tmp_path / "features") as features:
        yield features


@pytest.fixture
async def shop(tmp_path: Path, features: FeatureShop) -> AsyncIterator[TryingShop]:
    async with TryingShop(tmp_path, socket=features.socket) as shop:
        yield shop


def everyone(**treatment: Any) -> list[dict[str, Any]]:
    return [
        {"name": "control", "baseline": True, "buckets": [], "weight": 0},
        {"name": "treatment", **treatment, "buckets": ["0-10000"], "weight": 10_000},
    ]


async def test_a_variant_reads_features_that_the_baseline_does_not(
    shop: TryingShop, features: FeatureShop
) -> None:
    await features.know("product-stats", ["7"], margin=0.75, views=40)
    await features.know("customer-profile", ["1467"], visits=3)
    graph = (
        shop.graph()
        .features_of(features.config)
        .recall("together", "item-cooccurrence")
        .looks_up("customer", "customer", entity="request.customer")
        .looks_up("product", "product", entity="candidate.id")
        .rank(by="candidate.price")
        .select("1")
    )
    inputs = {"price": "candidate.product.margin", "sold": "customer.visits"}
    engine = shop.trying(graph, x=experiment(variants=everyone(model="basket-ranker", inputs=inputs)))
    answer = await engine.ask(**CART)
    assert products(answer) == ["Gift wrap"]
    assert answer["experiments"]["x"] == {"variant": "treatment", "reason": "assigned"}
    (call,) = shop.models["basket-ranker"].calls
    assert call.columns["price"] == [0.0, 0.0, 0.75, 0.0, 0.0]
    assert set(call.columns["sold"]) == {3}
    assert engine.counted("graph_lookups_total", graph="basket", outcome="ok") == 1


async def test_a_recall_in_a_variant_gets_the_features_of_the_request_first(
    shop: TryingShop, features: FeatureShop
) -> None:
    """Then they cannot be asked for with those of candidates."""
    await features.know("customer-profile", ["1467"], segment="family")
    graph = (
        shop.graph()
        .features_of(features.config)
        .looks_up("customer", "customer", entity="request.customer")
        .recall("again", "buy-it-again")
        .looks_up("product", "product", entity="candidate.id")
        .keep("sellable", "candidate.product.sellable || true")
        .select()
    )
    variants = everyone(model="buy-it-again", inputs={"customer": "customer.segment"})
    engine = shop.trying(graph, x=experiment(step="again", variants=variants))
    answer = await engine.ask(**CART)
    assert "served" not in answer["experiments"]["x"]
    assert shop.models["buy-it-again"].calls[0].columns == {"customer": ["family"]}


def asking(shop: TryingShop, features: FeatureShop, url: str) -> Graph:
    return (
        shop.graph()
        .model("intent-v2", url, **CONTRACTS["micro-intent"])
        .features_of(features.config)
        .ask("intent", "micro-intent")
        .recall("together", "item-cooccurrence")
        .select()
        .writes("customer-intent", INTENT, entity="request.customer")
    )


def reading(shop: TryingShop, features: FeatureShop) -> Graph:
    return (
        shop.graph()
        .features_of(features.config)
        .recall("together", "item-cooccurrence")
        .looks_up("intent", "intent", entity="request.customer")
        .keep("any", "intent.last_intent != ''")
        .select()
    )


async def kept(engine: Engine, customer: str) -> str:
    said = await engine.explain(**{**CART, "customer": customer})
    return next(each["value"] for each in said["intent"]["features"] if each["name"] == "last_intent")


def frozen(columns: Columns) -> Columns:
    rows = len(columns["cart"])
    return {"name": ["frozen"] * rows, "confidence": [0.9] * rows}


async def test_what_another_model_says_is_not_written_back_for_the_views_own(
    shop: TryingShop, features: FeatureShop
) -> None:
    """Such a row would count for nobody, and take the place of one that does."""
    other = shop.models["popularity"]
    other.inputs, other.outputs = shop.models["micro-intent"].inputs, shop.models["micro-intent"].outputs
    other.answer, other.label = frozen, "intent-v2@1"
    halves = [
        {"name": "control", "baseline": True, "buckets": ["0-5000"], "weight": 5000},
        {"name": "treatment", "model": "intent-v2", "buckets": ["5000-10000"], "weight": 5000},
    ]
    graph, reader = asking(shop, features, other.contract.url), shop.engine(reading(shop, features))
    customers = [str(number) for number in range(12)]
    before = shop.engine(graph)
    for customer in customers:
        await before.ask(**{**CART, "customer": customer})
    await until_kept(reader, customers)
    tried = shop.trying(graph, x=experiment(step="intent", variants=halves))
    said = [(await tried.ask(**{**CART, "customer": customer}))["intent"]["name"] for customer in customers]
    assert set(said) == {"party supplies", "frozen"}
    await asyncio.sleep(0.5)
    await until_kept(reader, customers)


async def until_kept(reader: Engine, customers: list[str]) -> None:
    for _ in range(100):
        found = {await kept(reader, customer) for customer in customers}
        if found == {"party supplies"}:
            return
        await asyncio.sleep(0.05)
    raise AssertionError(found)
