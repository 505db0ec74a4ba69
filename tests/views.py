# SPDX-License-Identifier: Apache-2.0
"""Small sound stores, views and bundles, for tests of every layer; `builders.changed` changes one field of them."""

from __future__ import annotations

from typing import Any

from builders import graph, ranker, resource


def feature(name: str, kind: str = "number", of: str | None = None, **more: Any) -> dict[str, Any]:
    return {"name": name, "type": kind, **({"items": {"type": of}} if of else {}), **more}


def entity(*keys: str) -> dict[str, Any]:
    """Named after its first key; the keys are texts."""
    return {"name": keys[0].removesuffix("_id"), "keys": [{"name": key} for key in keys]}


def store(name: str = "default", **spec: Any) -> dict[str, Any]:
    """A store with a Redis of its own."""
    return resource("FeatureStore", name, spec)


def activity(name: str = "customer-activity", **spec: Any) -> dict[str, Any]:
    """A stream view of storage events with every aggregation that needs each event, and some that do not."""
    sound = {
        "entity": entity("customer_id"),
        "ttl": "26h",
        "source": {"stream": {"lateness": "1h"}},
        "features": [
            feature("clicks", "integer", event="click", aggregation="count", windows=["5m", "1h", "24h"]),
            feature("spend", event="purchase", aggregation="sum", field="amount", windows=["24h"]),
            feature(
                "brands", "integer", event="purchase", aggregation="distinct", field="brand", windows=["24h"]
            ),
            feature(
                "favourites",
                "array",
                "string",
                event="click",
                aggregation="top",
                field="category",
                windows=["1h"],
                maxItems=3,
            ),
        ],
    }
    return resource("FeatureView", name, {**sound, **spec})


def popularity(name: str = "product-popularity", **spec: Any) -> dict[str, Any]:
    """A stream view of storage tiles."""
    sound = {
        "entity": entity("product_id"),
        "ttl": "26h",
        "source": {"stream": {"storage": "tiles", "lateness": "1h", "tiles": {"24h": "15m"}}},
        "features": [
            feature("sold", "integer", event="purchase", aggregation="count", windows=["1h", "24h"]),
            feature("dearest", event="purchase", aggregation="max", field="amount", windows=["1h"]),
        ],
    }
    return resource("FeatureView", name, {**sound, **spec})


def profile(name: str = "customer-profile", **spec: Any) -> dict[str, Any]:
    """A precomputed view with a feature of each type."""
    sound = {
        "entity": entity("customer_id"),
        "source": {"precomputed": {}},
        "features": [
            feature("segment", "string", default="unknown"),
            feature("age", "integer"),
            feature("basket_value"),
            feature("member", "boolean"),
            feature("aisles", "array", "string"),
        ],
    }
    return resource("FeatureView", name, {**sound, **spec})


def last_intent(name: str = "last-intent", **spec: Any) -> dict[str, Any]:
    """A derived view that keeps what micro-intent said."""
    sound = {
        "entity": entity("customer_id"),
        "ttl": "30m",
        "source": {"derived": {"model": "micro-intent"}},
        "features": [
            feature("label", "string"),
            feature("confidence"),
            feature("shown", "array", "string", maxItems=50),
        ],
    }
    return resource("FeatureView", name, {**sound, **spec})


def selected(view: str, of: str, window: str | None = None, **more: Any) -> dict[str, Any]:
    return {"view": view, "feature": of, **({"window": window} if window else {}), **more}


def bundle(name: str = "customer-preference", **spec: Any) -> dict[str, Any]:
    """Features of a customer from two views."""
    sound = {
        "features": [
            selected("customer-activity", "clicks", "1h"),
            selected("customer-activity", "spend", "24h", name="spend"),
            selected("customer-profile", "segment"),
        ]
    }
    return resource("FeatureBundle", name, {**sound, **spec})


def product_bundle(name: str = "product", **spec: Any) -> dict[str, Any]:
    return resource(
        "FeatureBundle", name, {"features": [selected("product-popularity", "sold", "1h")], **spec}
    )


def graph_with_features(name: str = "basket", **spec: Any) -> dict[str, Any]:
    """The graph of `builders` that also looks the customer and the candidates up, and writes back."""
    plain = graph(name)["spec"]
    customer = {"bundle": "customer-preference", "entity": "request.household"}
    product = {"bundle": "product", "entity": "candidate.id"}
    first, second, *rest = plain["steps"]
    steps = [{"name": "customer", "features": customer}, first, second, {"name": "live", "features": product}]
    written = {
        "view": "last-intent",
        "entity": "request.household",
        "features": {"label": "intent.label", "shown": "answer.products"},
    }
    return graph(name, **{"steps": [*steps, *rest], "writeBack": [written], **spec})


def ranker_with_features(**spec: Any) -> dict[str, Any]:
    """A model whose pod looks features of a customer up itself."""
    inputs = [*ranker()["spec"]["inputs"], {"name": "customer", "type": "string"}]
    features = {"bundle": "customer-preference", "keys": {"customer_id": "customer"}}
    hook = {"python": "basket:numbers"}
    return ranker("customer-ranker", **{"inputs": inputs, "features": features, "preprocess": hook, **spec})


def sound() -> list[dict[str, Any]]:
    """Every resource of this module."""
    views = [activity(), popularity(), profile(), last_intent()]
    return [store(), *views, bundle(), product_bundle(), graph_with_features(), ranker_with_features()]
