# SPDX-License-Identifier: Apache-2.0
"""Small sound resources, and ways to change one field of them, for tests of every layer."""

from __future__ import annotations

import copy
import re
from typing import Any

API_VERSION = "endcap.dev/v1alpha1"
DIGEST = "0123456789abcdef" * 4
REMOVED = object()


def column(name: str, kind: str = "number", of: str | None = None) -> dict[str, Any]:
    return {"name": name, "type": kind, **({"items": {"type": of}} if of else {})}


def resource(kind: str, name: str, spec: dict[str, Any]) -> dict[str, Any]:
    return {"apiVersion": API_VERSION, "kind": kind, "metadata": {"name": name}, "spec": spec}


def ranker(name: str = "basket-ranker", **spec: Any) -> dict[str, Any]:
    """A LightGBM model that ranks by two numbers."""
    sound = {
        "framework": "lightgbm",
        "model": {"uri": f"s3://models/{name}/4.txt", "sha256": DIGEST},
        "inputs": [column("household_share"), column("price")],
        "outputs": [column("score")],
    }
    return resource("ModelDeployment", name, {**sound, **spec})


def recaller(name: str = "item-cooccurrence", **spec: Any) -> dict[str, Any]:
    """A Python model that recalls products for a cart."""
    sound = {
        "framework": "python",
        "model": {"uri": f"s3://models/{name}/1.tar.gz", "sha256": DIGEST, "entryPoint": "served:load"},
        "inputs": [column("cart", "array", "product")],
        "outputs": [
            column("items", "array", "product"),
            column("score", "array", "number"),
            column("because", "array", "product"),
        ],
    }
    return resource("ModelDeployment", name, {**sound, **spec})


def intent(name: str = "micro-intent", **spec: Any) -> dict[str, Any]:
    """A Python model that names what a cart is for."""
    sound = {
        "framework": "python",
        "model": {"uri": f"s3://models/{name}/2.tar.gz", "sha256": DIGEST, "entryPoint": "intent:load"},
        "inputs": [column("cart", "array", "product")],
        "outputs": [column("label", "string"), column("confidence")],
    }
    return resource("ModelDeployment", name, {**sound, **spec})


def graph(name: str = "basket", **spec: Any) -> dict[str, Any]:
    """A graph that has one step of each kind and calls the three models above."""
    sound = {
        "api": {
            "path": "/basket",
            "request": {
                "household": {"type": "string"},
                "cart": {"type": "array", "items": {"type": "product"}, "required": True},
                "channel": {"type": "string", "enum": ["web", "app"], "default": "web"},
                "limit": {"type": "integer", "default": 10, "minimum": 1, "maximum": 50},
            },
        },
        "catalogue": {
            "uri": "s3://models/catalogue/1.parquet",
            "sha256": DIGEST,
            "columns": [
                column("id", "string"),
                column("name", "string"),
                column("category", "string"),
                column("price"),
                column("household_share"),
                column("sold", "integer"),
                column("stores", "array", "string"),
            ],
        },
        "deadline": "150ms",
        "steps": [
            {"name": "intent", "model": {"model": "micro-intent"}, "timeout": "15ms"},
            {"name": "together", "recall": {"model": "item-cooccurrence", "reason": "Bought with {because}"}},
            {"name": "rank", "rank": {"model": "basket-ranker"}, "onError": "keepOrder"},
            {"name": "not-in-cart", "filter": {"drop": "candidate.name in request.cart"}},
            {"name": "variety", "limit": {"per": "candidate.category", "max": 2}},
            {"name": "top", "select": {"count": "request.limit", "backfill": True}},
        ],
        "fallback": [{"catalogue": {"orderBy": "sold"}}, {"empty": {}}],
    }
    return resource("InferenceGraph", name, {**sound, **spec})


def feature_store(name: str = "default", **spec: Any) -> dict[str, Any]:
    """A store with a Redis of its own."""
    return resource("FeatureStore", name, spec)


def activity(name: str = "customer-activity", **spec: Any) -> dict[str, Any]:
    """A view of what a customer did, over windows of events."""
    sound = {
        "entity": {"name": "customer", "keys": [{"name": "customer_id"}]},
        "ttl": "26h",
        "source": {"stream": {"lateness": "1h"}},
        "features": [
            {
                "name": "clicks",
                "type": "integer",
                "event": "click",
                "aggregation": "count",
                "windows": ["1h", "24h"],
            },
            {
                "name": "spend",
                "type": "number",
                "event": "purchase",
                "field": "amount",
                "aggregation": "sum",
                "windows": ["24h"],
            },
        ],
    }
    return resource("FeatureView", name, {**sound, **spec})


def segment(name: str = "customer-segment", **spec: Any) -> dict[str, Any]:
    """A view of what a job found out about a customer."""
    sound = {
        "entity": {"name": "customer", "keys": [{"name": "customer_id"}]},
        "ttl": "48h",
        "source": {"precomputed": {}},
        "features": [{"name": "segment", "type": "string", "default": "new"}],
    }
    return resource("FeatureView", name, {**sound, **spec})


def last_intent(name: str = "last-intent", **spec: Any) -> dict[str, Any]:
    """A view of what a graph found out about a customer with the model micro-intent."""
    sound = {
        "entity": {"name": "customer", "keys": [{"name": "customer_id"}]},
        "ttl": "24h",
        "source": {"derived": {"model": "micro-intent"}},
        "features": [{"name": "intent", "type": "string"}],
    }
    return resource("FeatureView", name, {**sound, **spec})


def bundle(name: str = "customer-preference", **spec: Any) -> dict[str, Any]:
    """A bundle across the first two views."""
    sound = {
        "features": [
            {"view": "customer-activity", "feature": "clicks", "window": "1h"},
            {"view": "customer-segment", "feature": "segment"},
        ]
    }
    return resource("FeatureBundle", name, {**sound, **spec})


def with_features(manifest: dict[str, Any], bundle_name: str = "customer-preference") -> dict[str, Any]:
    """The graph with a features step before all others, for the household of the request."""
    step = {"name": "customer", "features": {"bundle": bundle_name, "entity": "request.household"}}
    return changed(manifest, "spec.steps", [step, *manifest["spec"]["steps"]])


def writing_back(manifest: dict[str, Any]) -> dict[str, Any]:
    """The graph, which keeps the intent that it found."""
    kept = {"view": "last-intent", "entity": "request.household", "features": {"intent": "intent.label"}}
    return changed(manifest, "spec.writeBack", [kept])


def changed(manifest: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    """A copy with the field at `path` (`spec.steps[0].timeout`) set, or gone for REMOVED.

    An index one past the end of a list appends to it.
    """
    result = copy.deepcopy(manifest)
    *parents, last = [int(n) if n else name for name, n in re.findall(r"([^.\[\]]+)|\[(\d+)\]", path)]
    holder: Any = result
    for part in parents:
        holder = holder.setdefault(part, {}) if isinstance(holder, dict) else holder[part]
    if value is REMOVED:
        del holder[last]
    elif isinstance(holder, list) and last == len(holder):
        holder.append(value)
    else:
        holder[last] = value
    return result
