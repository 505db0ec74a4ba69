# SPDX-License-Identifier: Apache-2.0
"""What a graph leaves behind after its answers: results that another graph reuses, and the features that it served."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from graphs import Graph
from shop import Engine, Shop, degraded, products
from shop_features import FeatureShop

CART = {"customer": "1467", "cart": ["Paper plates"], "store": "330"}
INTENT = {"last_intent": "intent.name", "confidence": "intent.confidence"}


@pytest.fixture
async def features(tmp_path: Path) -> AsyncIterator[FeatureShop]:
    async with FeatureShop(tmp_path / "features") as features:
        yield features


@pytest.fixture
async def shop(tmp_path: Path, features: FeatureShop) -> AsyncIterator[Shop]:
    async with Shop(tmp_path, socket=features.socket) as shop:
        yield shop


def asking(shop: Shop, features: FeatureShop) -> Graph:
    """Asks the model, and keeps what it says."""
    return (
        shop.graph()
        .features_of(features.config)
        .ask("intent", "micro-intent")
        .recall("together", "item-cooccurrence")
        .select()
        .writes("customer-intent", INTENT, entity="request.customer")
    )


def reading(shop: Shop, features: FeatureShop) -> Graph:
    """Reads what was kept, and asks no model for it."""
    return (
        shop.graph()
        .features_of(features.config)
        .recall("together", "item-cooccurrence")
        .looks_up("intent", "intent", entity="request.customer")
        .keep("party", "intent.last_intent != 'party supplies' || candidate.category == 'party'")
        .select()
    )


async def kept(engine: Engine) -> dict[str, tuple[Any, str]]:
    """Value and status of each feature that the reading graph uses."""
    said = await engine.explain(**CART)
    return {each["name"]: (each["value"], each["status"]) for each in said["intent"]["features"]}


async def until_kept(engine: Engine, wanted: dict[str, tuple[Any, str]]) -> None:
    for _ in range(400):
        if (found := await kept(engine)) == wanted:
            return
        await asyncio.sleep(0.02)
    raise AssertionError(found)


async def test_a_result_is_reused_by_another_graph_until_another_version_of_its_model_is_deployed(
    shop: Shop, features: FeatureShop
) -> None:
    first, second = shop.engine(asking(shop, features)), shop.engine(reading(shop, features))
    assert await kept(second) == {"last_intent": ("unknown", "DEFAULTED")}
    await first.ask(**CART)
    await until_kept(second, {"last_intent": ("party supplies", "PRESENT")})
    assert products(await second.ask(**CART)) == ["Plastic cutlery", "Balloons", "Plastic cups"]
    assert len(shop.models["micro-intent"].calls) == 1
    assert second.counted("upstream_calls_total", graph="basket", model="micro-intent", outcome="ok") == 0
    features.redeploy("micro-intent@5")
    third = shop.engine(reading(shop, features))
    await until_kept(third, {"last_intent": ("unknown", "EXPIRED")})
    assert len(shop.models["micro-intent"].calls) == 1


async def test_a_row_is_of_the_version_that_answered_and_not_of_the_one_that_is_deployed(
    shop: Shop, features: FeatureShop
) -> None:
    first, second = shop.engine(asking(shop, features)), shop.engine(reading(shop, features))
    shop.models["micro-intent"].label = "micro-intent@3"
    await first.ask(**CART)
    await until_kept(second, {"last_intent": ("unknown", "EXPIRED")})


async def test_a_step_that_failed_writes_nothing(shop: Shop, features: FeatureShop) -> None:
    first, second = shop.engine(asking(shop, features)), shop.engine(reading(shop, features))
    shop.models["micro-intent"].behaviour = "status_500"
    await first.ask(**CART)
    shop.models["micro-intent"].behaviour = "well"
    await first.ask(**{**CART, "customer": "1468"})
    await features.until(lambda: _exists(features, "1468"))
    assert await kept(second) == {"last_intent": ("unknown", "DEFAULTED")}
    assert not _exists(features, "1467")


def _exists(features: FeatureShop, customer: str) -> bool:
    with features.redis.client() as client:
        return any(key.endswith(b"}" + customer.encode()) for key in client.keys("*customer-intent*"))


async def test_defaults_are_not_kept_as_if_they_had_been_found(shop: Shop, features: FeatureShop) -> None:
    graph = (
        shop.graph()
        .features_of(features.config)
        .recall("together", "item-cooccurrence")
        .looks_up("customer", "customer", entity="request.customer")
        .select()
        .writes("customer-last", {"best": "customer.budget"}, entity="request.customer")
    )
    engine = shop.engine(graph)
    features.redis.kill()
    assert degraded(await engine.ask(**CART)) == {"customer": "defaults: the feature store cannot be asked"}
    features.redis.start()
    for _ in range(400):
        if not (await engine.ask(**{**CART, "customer": "1468"}))["degraded"]:
            break
        await asyncio.sleep(0.02)
    await features.until(lambda: _kept_last(features, "1468"))
    assert not _kept_last(features, "1467")


async def test_candidates_come_from_what_another_graph_kept_without_a_model(
    shop: Shop, features: FeatureShop
) -> None:
    await features.know("customer-last", ["1467"], products=["6", "99", "8"])
    graph = (
        shop.graph()
        .features_of(features.config)
        .looks_up("last", "last", entity="request.customer")
        .takes("before", "last.products", reason="Suggested to you before")
        .select()
        .with_(fallback=[{"empty": {}}])
    )
    engine = shop.engine(graph)
    answer = await engine.ask(**CART)
    assert products(answer) == ["Ice cream", "Milk"]
    first = answer["recommendations"][0]
    assert (first["reason"], first["sources"]) == ("Suggested to you before", ["before"])
    assert answer["served_by"] == {}
    said = await engine.explain(**CART)
    assert (said["before"]["kept"], said["before"]["unknown_items"]) == (2, 1)
    assert said["before"]["rule"] == "at most 100 from last.products"
    assert [len(model.calls) for model in shop.models.values()] == [0] * len(shop.models)
    assert products(await engine.ask(**{**CART, "customer": "1468"})) == []


async def test_the_answer_is_kept_by_keys_and_scores(shop: Shop, features: FeatureShop) -> None:
    graph = (
        shop.graph()
        .features_of(features.config)
        .recall("together", "item-cooccurrence")
        .rank(by="candidate.price")
        .select("2")
        .writes(
            "customer-last",
            {"products": "answer.products", "best": "answer.scores[0]"},
            keys={"customer_id": "request.customer"},
        )
        .with_(fallback=[{"model": "popularity"}])
    )
    reader = (
        shop.graph()
        .features_of(features.config)
        .recall("together", "item-cooccurrence")
        .looks_up("last", "last", entity="request.customer")
        .drop("again", "candidate.id in last.products || candidate.price > last.best")
        .select()
    )
    first, second = shop.engine(graph), shop.engine(reader)
    assert products(await first.ask(**CART)) == ["Ice cream", "Gift wrap"]
    await features.until(lambda: _kept_last(features, "1467"))
    assert products(await second.ask(**CART)) == ["Plastic cutlery", "Balloons", "Plastic cups"]
    shop.models["item-cooccurrence"].behaviour = "status_500"
    assert (await first.ask(**{**CART, "customer": "1468"}))["served_by"]["fallback"] == "popularity@4"
    shop.models["item-cooccurrence"].behaviour = "well"
    await first.ask(**{**CART, "customer": "1469"})
    await features.until(lambda: _kept_last(features, "1469"))
    assert not _kept_last(features, "1468"), "what the fallback gave is no result of the graph"


def _kept_last(features: FeatureShop, customer: str) -> bool:
    with features.redis.client() as client:
        return any(key.endswith(b"}" + customer.encode()) for key in client.keys("*customer-last*"))


async def test_the_serving_log_has_the_features_that_ranked_the_products_that_were_returned(
    shop: Shop, features: FeatureShop
) -> None:
    await features.know("customer-profile", ["1467"], budget=3.2)
    await features.know("product-stats", ["2"], margin=0.9, brand="Acme", tags=["cheap"])
    await features.know("product-stats", ["6"], margin=0.4)
    graph = (
        shop.graph()
        .features_of(features.config)
        .recall("together", "item-cooccurrence")
        .looks_up("customer", "customer", entity="request.customer")
        .looks_up("product", "product", entity="candidate.id")
        .rank(by="candidate.product.margin * customer.budget")
        .select("2")
    )
    answer = await shop.engine(graph).ask(**CART)
    assert products(answer) == ["Plastic cups", "Ice cream"]
    (entry,) = await features.until(features.served)
    assert entry["request_id"] == answer["request_id"]
    record = orjson.loads(entry["value"])
    customer, product = record["served"]
    assert (customer["step"], customer["keys"]) == ("customer", {"customer_id": ["1467"]})
    assert (customer["columns"]["budget"], customer["statuses"]["budget"]) == ([3.2], ["PRESENT"])
    assert (customer["columns"]["clicks_1h"], customer["statuses"]["clicks_1h"]) == ([0], ["DEFAULTED"])
    assert (product["bundle"], product["keys"]) == ("product", {"product_id": ["2", "6"]})
    assert product["columns"] == {
        "margin": [0.9, 0.4],
        "views": [1, 1],
        "brand": ["Acme", "none"],
        "sellable": [True, True],
        "tags": [["cheap"], []],
    }
    assert record["revision"] == answer_revision(shop)


def answer_revision(shop: Shop) -> str:
    served = shop._engines[0].serving.served
    assert served is not None
    return served.pipeline.revision


async def test_a_dead_sidecar_costs_records_that_are_counted_and_no_request(
    shop: Shop, features: FeatureShop
) -> None:
    engine = shop.engine(asking(shop, features))
    await engine.ask(**CART)
    await features.until(lambda: _exists(features, "1467"))
    features.kill()
    for _ in range(20):
        assert (await engine.post(CART)).status_code == 200
    await _dropped(engine, 20)


async def _dropped(engine: Engine, wanted: int) -> None:
    for _ in range(500):
        if (dropped := engine.counted("graph_records_dropped_total", graph="basket")) == wanted:
            return
        await asyncio.sleep(0.02)
    raise AssertionError(dropped)


async def test_a_store_without_a_serving_log_is_told_of_no_lookup(tmp_path: Path) -> None:
    """Without a sidecar each record would be dropped, and counted; when the log begins they are."""
    async with (
        FeatureShop(tmp_path / "features", stored={"servingLog": None}) as features,
        Shop(tmp_path, socket=features.socket) as shop,
    ):
        engine = shop.engine(reading(shop, features))
        assert (await engine.ask(**CART))["degraded"] == []
        features.stored = {"servingLog": 1000}
        logging = shop.engine(reading(shop, features))
        features.kill()
        for asked in (engine, logging):
            await asked.ask(**CART)
        await _dropped(logging, 1)
        await _dropped(engine, 0)
