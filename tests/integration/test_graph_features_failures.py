# SPDX-License-Identifier: Apache-2.0
"""What a graph answers when its features do not come, or are not what they should be."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from feature_sidecars import parsed
from graphs import Graph
from shop import Engine, Shop, degraded, products
from shop_features import FeatureShop, bundle

from endcap_runtime.graph.handshake import Handshake
from endcap_runtime.graph.sidecar import Sidecar

CART = {"customer": "1467", "cart": ["Paper plates"], "store": "330"}
CHEAP = ["Balloons", "Plastic cups"]  # below the default budget of 2.0, and the balloons at 2.0


@pytest.fixture
async def features(tmp_path: Path) -> AsyncIterator[FeatureShop]:
    async with FeatureShop(tmp_path / "features") as features:
        await features.know("customer-profile", ["1467"], budget=3.2)
        yield features


@pytest.fixture
async def shop(tmp_path: Path, features: FeatureShop) -> AsyncIterator[Shop]:
    async with Shop(tmp_path, socket=features.socket) as shop:
        yield shop


def affordable(shop: Shop, features: FeatureShop, bundle: str = "customer", **step: Any) -> Graph:
    """Cutlery, balloons and cups for who spends 3.2, balloons and cups for who spends the default of 2."""
    return (
        shop.graph()
        .features_of(features.config)
        .recall("together", "item-cooccurrence")
        .looks_up("customer", bundle, entity="request.customer", timeout="100ms", **step)
        .keep("affordable", "candidate.price <= customer.budget")
        .select()
        .with_(fallback=[{"model": "popularity"}])
    )


def killed(features: FeatureShop) -> str:
    features.kill()
    return "the feature sidecar refused the connection"


def frozen(features: FeatureShop) -> str:
    os.kill(features.sidecar.process.pid, signal.SIGSTOP)
    return "the feature sidecar did not answer within 100 ms"


def without_socket(features: FeatureShop) -> str:
    features.sidecar.socket.unlink()
    return "the feature sidecar refused the connection"


def without_store(features: FeatureShop) -> str:
    features.redis.kill()
    return "the feature store cannot be asked"


def with_other_bundles(features: FeatureShop) -> str:
    """Twice, since the last two configurations stay usable."""
    for name in ("one", "two"):
        renamed = bundle("customer-profile", "visits", description=name)
        features.sidecar.write(features.value(customer=renamed))
        until = time.monotonic() + 10
        while features.sidecar.get("/v1/bundles")["bundles"]["customer"] != _digest(features, renamed):
            assert time.monotonic() < until, features.sidecar.log[-2000:]
            time.sleep(0.05)
    return "the feature sidecar answered 409: The bundle customer has the digest"


def _digest(features: FeatureShop, renamed: dict[str, Any]) -> str:
    return parsed(features.value(customer=renamed)).contract("customer").digest


FAILURES = [killed, frozen, without_socket, without_store, with_other_bundles]
Failure = Callable[[FeatureShop], str]


@pytest.mark.parametrize("fail", FAILURES)
async def test_a_lookup_that_fails_gives_defaults_that_are_named(
    shop: Shop, features: FeatureShop, fail: Failure
) -> None:
    engine = shop.engine(affordable(shop, features))
    assert products(await engine.ask(**CART)) == ["Plastic cutlery", *CHEAP]
    reason = fail(features)
    await engine.client().aclose()
    answer = await engine.ask(**CART)
    assert products(answer) == CHEAP
    assert degraded(answer)["customer"].startswith(f"defaults: {reason}")
    assert engine.counted("graph_degraded_total", graph="basket", step="customer") == 1


@pytest.mark.parametrize("fail", FAILURES)
async def test_a_lookup_that_must_not_fail_goes_to_the_fallback(
    shop: Shop, features: FeatureShop, fail: Failure
) -> None:
    graph = affordable(shop, features, onError="fail")
    graph.steps[2] = {"name": "all", "filter": {"keep": "true"}}
    graph.steps.insert(3, {"name": "rank", "rank": {"by": "customer.budget"}})
    engine = shop.engine(graph)
    assert products(await engine.ask(**CART))[0] == "Plastic cutlery"
    reason = fail(features)
    answer = await engine.ask(**CART)
    assert answer["served_by"]["fallback"] == "popularity@4"
    assert degraded(answer)["customer"].startswith(reason)


async def test_a_required_bundle_without_its_store_fails_its_own_step_alone(
    shop: Shop, features: FeatureShop
) -> None:
    graph = (
        shop.graph()
        .features_of(features.config)
        .recall("together", "item-cooccurrence")
        .looks_up("needed", "needed", entity="request.customer", timeout="500ms")
        .looks_up("customer", "customer", entity="request.customer", timeout="500ms")
        .keep("affordable", "candidate.price <= needed.budget + customer.budget")
        .select()
    )
    features.redis.kill()
    answer = await shop.engine(graph).ask(**CART)
    assert degraded(answer) == {
        "needed": "defaults: the feature store cannot be asked",
        "customer": "defaults: the feature store cannot be asked",
    }
    assert len(products(answer)) == 5


async def test_values_that_were_read_last_are_served_and_called_stale(tmp_path: Path) -> None:
    async with (
        FeatureShop(tmp_path / "features", near_cache_bytes=1 << 20) as features,
        Shop(tmp_path, socket=features.socket) as shop,
    ):
        await features.know("customer-profile", ["1467"], budget=3.2)
        engine = shop.engine(affordable(shop, features))
        await engine.ask(**CART)
        features.redis.kill()
        answer = await _until_degraded(engine, "values up to")
        assert products(answer) == ["Plastic cutlery", *CHEAP]
        said = await engine.explain(**CART)
        assert said["customer"]["features"][0]["status"] == "STALE"


async def _until_degraded(engine: Engine, reason: str, **asked: str) -> dict[str, Any]:
    until = time.monotonic() + 15
    while time.monotonic() < until:
        answer = await engine.ask(**CART | asked)
        if degraded(answer).get("customer", "").startswith(reason):
            return answer
    raise AssertionError(answer)


async def _until_whole(engine: Engine) -> float:
    """How long until an answer is whole again; every answer until then is one."""
    start = time.monotonic()
    while time.monotonic() < start + 20:
        if not (await engine.ask(**CART))["degraded"]:
            return time.monotonic() - start
    raise AssertionError("still degraded")


async def test_a_sidecar_that_was_killed_is_found_again(shop: Shop, features: FeatureShop) -> None:
    engine = shop.engine(affordable(shop, features))
    await engine.ask(**CART)
    features.kill()
    for _ in range(40):
        assert "customer" in degraded(await engine.ask(**CART))
    features.restart()
    assert await _until_whole(engine) < 20


async def test_a_sidecar_that_was_frozen_is_found_again(shop: Shop, features: FeatureShop) -> None:
    engine = shop.engine(affordable(shop, features))
    await engine.ask(**CART)
    os.kill(features.sidecar.process.pid, signal.SIGSTOP)
    for _ in range(5):
        assert "customer" in degraded(await engine.ask(**CART))
    os.kill(features.sidecar.process.pid, signal.SIGCONT)
    assert await _until_whole(engine) < 20


async def test_a_dead_sidecar_takes_no_more_than_the_time_of_the_step(
    shop: Shop, features: FeatureShop
) -> None:
    engine = shop.engine(affordable(shop, features))
    os.kill(features.sidecar.process.pid, signal.SIGSTOP)
    said = await engine.explain(**CART)
    assert said["customer"]["ms"] < 1000


async def test_a_store_behind_its_events_is_not_called_away(shop: Shop, features: FeatureShop) -> None:
    engine = shop.engine(affordable(shop, features))
    await features.lag(60)
    for customer in ("1467", "nobody"):
        answer = await _until_degraded(engine, "values", customer=customer)
        assert degraded(answer) == {"customer": "values that are behind by more than maxLag"}
    features.redis.kill()
    await _until_degraded(engine, "defaults: the feature store cannot be asked", customer="nobody")


async def test_a_pod_that_starts_with_the_last_good_revision_has_its_bundles(
    shop: Shop, features: FeatureShop
) -> None:
    graph = (
        shop.graph()
        .features_of(features.config)
        .recall("together", "item-cooccurrence")
        .looks_up("intent", "intent", entity="request.customer")
        .drop("party", "intent.last_intent == candidate.category")
        .select()
    )
    engine = shop.engine(graph)
    served = engine.serving.served
    assert served is not None
    features.kill()
    kept = features.sidecar.directory / "features.json"
    kept.rename(kept.with_name("last-good-features.json"))
    features.version = "micro-intent@5"
    features.restart()
    await Handshake(Sidecar(features.socket), patience=0.5)(served, first=True)
    assert (await engine.ask(**CART))["degraded"] == []
