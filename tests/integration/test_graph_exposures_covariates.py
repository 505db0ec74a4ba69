# SPDX-License-Identifier: Apache-2.0
"""What an exposure says of its unit's past: numbers that were known before, as the request had them, or nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from exposure_doors import ExposureDoor
from graphs import Graph
from shop_exposures import TryingEngine, TryingShop, experiment
from shop_features import FeatureShop

CART = {"customer": "1467", "cart": ["Paper plates"], "store": "330"}


@pytest.fixture
async def door() -> AsyncIterator[ExposureDoor]:
    async with ExposureDoor() as door:
        yield door


@pytest.fixture
async def shop(tmp_path: Path) -> AsyncIterator[TryingShop]:
    async with TryingShop(tmp_path) as shop:
        yield shop


@pytest.fixture
async def features(tmp_path: Path) -> AsyncIterator[FeatureShop]:
    async with FeatureShop(tmp_path / "features") as features:
        yield features


async def told(engine: TryingEngine, door: ExposureDoor) -> dict[str, Any]:
    """The one exposure of the customer."""
    for _ in range(1000):
        if CART["customer"] in door.units:
            break
        await asyncio.sleep(0.01)
    (exposure,) = [each for each in door.taken if each["unit"] == CART["customer"]]
    return exposure


def asking(shop: TryingShop) -> Graph:
    return (
        shop.graph()
        .recall("together", "item-cooccurrence")
        .ask("intent", "micro-intent")
        .rank(model="basket-ranker")
        .select()
    )


async def test_a_covariate_is_evaluated_on_what_the_request_had(shop: TryingShop, door: ExposureDoor) -> None:
    covariates = {"revenue": "intent.confidence * 2.0", "add-to-cart": "size(request.cart)"}
    engine = shop.trying(asking(shop), ranker_v2=experiment(exposures=door.url, covariates=covariates))
    await engine.ask(**CART)
    exposure = await told(engine, door)
    assert exposure["covariates"] == {"revenue": pytest.approx(0.6213871 * 2), "add-to-cart": 1.0}
    assert isinstance(exposure["covariates"]["add-to-cart"], float)


async def test_one_without_a_value_is_left_out_and_costs_no_other(
    shop: TryingShop, door: ExposureDoor
) -> None:
    covariates = {
        "revenue": "1.0 / (double(size(request.cart)) - 1.0)",
        "orders": "1 / (size(request.cart) - 1)",
        "visits": "double(request.store)",
        "huge": "1e300",
        "add-to-cart": "3",
    }
    engine = shop.trying(asking(shop), ranker_v2=experiment(exposures=door.url, covariates=covariates))
    await engine.ask(**{**CART, "store": "none"})
    assert (await told(engine, door))["covariates"] == {"add-to-cart": 3.0}


async def test_a_step_that_failed_gives_no_covariate(shop: TryingShop, door: ExposureDoor) -> None:
    shop.models["micro-intent"].behaviour = "status_500"
    covariates = {"revenue": "intent.confidence", "add-to-cart": "3"}
    engine = shop.trying(asking(shop), ranker_v2=experiment(exposures=door.url, covariates=covariates))
    await engine.ask(**CART)
    assert (await told(engine, door))["covariates"] == {"add-to-cart": 3.0}


def reading(shop: TryingShop, features: FeatureShop) -> Graph:
    """Nothing but the covariate reads what is looked up."""
    shop.socket = features.socket
    return (
        shop.graph()
        .features_of(features.config)
        .recall("together", "item-cooccurrence")
        .looks_up("customer", "customer", entity="request.customer")
        .rank(model="basket-ranker")
        .select()
    )


async def test_a_feature_that_nothing_else_reads_is_there_for_a_covariate(
    shop: TryingShop, features: FeatureShop, door: ExposureDoor
) -> None:
    await features.know("customer-profile", ["1467"], visits=7)
    covariates = {"revenue": "customer.visits", "add-to-cart": "customer.budget"}
    engine = shop.trying(
        reading(shop, features), ranker_v2=experiment(exposures=door.url, covariates=covariates)
    )
    await engine.ask(**CART)
    exposure = await told(engine, door)
    assert exposure["covariates"] == {"revenue": 7.0, "add-to-cart": 2.0}, "a default is what is known"
    assert isinstance(exposure["feature_freshness_ms"], int)


async def test_what_stands_in_for_a_feature_is_no_covariate(
    shop: TryingShop, features: FeatureShop, door: ExposureDoor
) -> None:
    """Taken for a value it would say of a unit with a past that it has none."""
    await features.know("customer-profile", ["1467"], visits=7)
    engine = shop.trying(
        reading(shop, features),
        ranker_v2=experiment(exposures=door.url, covariates={"revenue": "customer.visits"}),
    )
    features.kill()
    answer = await engine.ask(**CART)
    assert [each["step"] for each in answer["degraded"]] == ["customer"]
    exposure = await told(engine, door)
    assert exposure["covariates"] == {}
    assert exposure["feature_freshness_ms"] is None


async def test_a_value_that_is_old_is_a_value(
    shop: TryingShop, features: FeatureShop, door: ExposureDoor
) -> None:
    await features.know("customer-profile", ["1467"], visits=7)
    await features.lag(seconds=60)
    engine = shop.trying(
        reading(shop, features),
        ranker_v2=experiment(exposures=door.url, covariates={"revenue": "customer.visits"}),
    )
    for _ in range(400):
        if (await engine.ask(**{**CART, "customer": "another"}))["degraded"]:
            break
        await asyncio.sleep(0.05)
    answer = await engine.ask(**CART)
    assert [each["step"] for each in answer["degraded"]] == ["customer"]
    assert (await told(engine, door))["covariates"] == {"revenue": 7.0}
