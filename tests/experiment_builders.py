# SPDX-License-Identifier: Apache-2.0
"""Small sound experiments on the graph of `builders`, for tests of the API and what reads it."""

from __future__ import annotations

from typing import Any

from builders import changed, column, intent, ranker, recaller, resource

CONTROL = {"name": "control", "baseline": True, "weight": 50}
TREATMENT = {"name": "treatment", "weight": 50, "model": "ranker-v2"}


def experiment(name: str = "ranker-v2", **spec: Any) -> dict[str, Any]:
    """A split of the ranking step between the graph's own model and another."""
    sound = {
        "graph": "basket",
        "step": "rank",
        "unit": ["request.household"],
        "variants": [CONTROL, TREATMENT],
    }
    return resource("Experiment", name, {**sound, **spec})


def measured(name: str = "ranker-v2", **spec: Any) -> dict[str, Any]:
    """An experiment that has everything: a ramp, layer, holdout, metrics of each kind, and guardrails."""
    sound = {
        "description": "The second ranker sells more",
        "salt": "basket.rank.2026",
        "ramp": {
            "steps": [
                {"coverage": 1, "hold": "10m", "minimumUnits": 100},
                {"coverage": 25, "approval": True},
                {"coverage": 100},
            ]
        },
        "targeting": 'request.channel == "web"',
        "layer": {"name": "basket", "buckets": ["0-4000", "6000-7000"]},
        "holdout": {"name": "2026q4", "percent": 5},
        "overrides": {"units": {"1467": "treatment", "Ünïcode-éè": "control"}},
        "store": "default",
        "metrics": [
            {"name": "add-to-cart", "unit": "customer_id", "event": "add_to_cart", "conversion": True},
            {
                "name": "revenue",
                "unit": "customer_id",
                "event": "purchase",
                "field": "amount",
                "where": {"channel": "web"},
                "covariate": "double(request.limit)",
            },
            {
                "name": "order-value",
                "unit": "customer_id",
                "event": "purchase",
                "field": "amount",
                "per": {"event": "purchase"},
            },
            {"name": "returns", "unit": "customer_id", "event": "return", "goal": "decrease"},
        ],
        "primary": "add-to-cart",
        "guardrails": [
            {"metric": "revenue", "limit": 2},
            {"serving": "p95Latency", "limit": 10},
            {"serving": "errorRate", "limit": 0.5},
        ],
        "analysis": {"alpha": 0.01, "interval": "15s", "minimumUnits": 500, "maximumUnits": 50_000},
        "onWin": "promote",
        "promotion": "patch",
    }
    return experiment(name, **{**sound, **spec})


def shadow(name: str = "ranker-v3", **spec: Any) -> dict[str, Any]:
    """Two variants that are only asked beside the graph's own model."""
    variants = [
        {"name": "control", "baseline": True},
        {"name": "treatment", "model": "ranker-v2"},
        {"name": "by-price", "by": "candidate.price"},
    ]
    return experiment(name, **{"mode": "shadow", "variants": variants, "coverage": 10, **spec})


def models_of_variants() -> list[dict[str, Any]]:
    """The models of the graph of `builders`, and others that do a step of it, or all but."""
    bare = recaller("bare-recaller", outputs=recaller()["spec"]["outputs"][:2])
    counting = changed(recaller("counting-recaller"), "spec.outputs[2]", column("because", "array", "number"))
    return [
        intent(),
        recaller(),
        ranker(),
        ranker("ranker-v2"),
        intent("intent-v2", outputs=[*intent()["spec"]["outputs"], column("why", "string")]),
        recaller("recaller-v2"),
        ranker("margin-ranker", inputs=[column("margin"), column("price")]),
        bare,
        counting,
        intent("bare-intent", outputs=[column("label", "string")]),
        intent("counting-intent", outputs=[column("label", "integer"), column("confidence")]),
    ]
