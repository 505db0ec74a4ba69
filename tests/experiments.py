# SPDX-License-Identifier: Apache-2.0
"""Experiments for tests of commands: on the graph of `builders`, and as a cluster would show them after a while."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from builders import resource

from endcap_api.v1alpha1.experiment import ExperimentSpec
from endcap_cli.experiment.standing import Standing
from endcap_cli.workspace import Name
from endcap_operator.plan.experiment.series import Band, Point

GOLDEN = Path(__file__).parent / "golden" / "experiments"
HOSTILE = "</script><img src=x onerror=alert(1)>\x1b[2J\u202e&amp;\"'"


def experiment(name: str = "ranker-v2", **spec: Any) -> dict[str, Any]:
    """Of the step rank of the graph basket, with everything that the command shows."""
    sound = {
        "description": "Ranker 2 knows what a household bought before",
        "graph": "basket",
        "step": "rank",
        "unit": ["request.household"],
        "variants": [
            {"name": "control", "baseline": True, "weight": 1},
            {"name": "treatment", "weight": 1, "model": "basket-ranker-v2"},
        ],
        "store": "default",
        "metrics": [
            {"name": "add-to-cart", "event": "add_to_cart", "unit": "household", "conversion": True},
            {"name": "revenue", "event": "purchase", "unit": "household", "field": "amount"},
        ],
        "primary": "add-to-cart",
        "guardrails": [{"metric": "revenue", "limit": 2}, {"serving": "p95Latency", "limit": 20}],
        "ramp": {"steps": [{"coverage": 5, "approval": True}, {"coverage": 50}, {"coverage": 100}]},
        "analysis": {"minimumUnits": 2000},
    }
    return resource("Experiment", name, {k: v for k, v in {**sound, **spec}.items() if v is not None})


def condition(kind: str, status: str, message: str) -> dict[str, Any]:
    return {
        "type": kind,
        "status": status,
        "reason": "AsTold",
        "message": message,
        "observedGeneration": 3,
        "lastTransitionTime": "2026-11-24T10:00:00Z",
    }


def running(**status: Any) -> dict[str, Any]:
    """A status in the middle of its course, with a treatment that is ahead."""
    found = {
        "observedGeneration": 3,
        "phase": "Running",
        "revision": 4,
        "serving": "3/3",
        "salt": "basket.rank.ranker-v2",
        "traffic": "100%",
        "split": "50/50",
        "units": 24081,
        "sampleRatio": "ok (0.031)",
        "primary": "+1.8% [-0.4%, +4.0%]",
        "verdict": "",
        "guardrail": "ok 2/2",
        "analysedAt": "2026-11-24T12:00:00Z",
        "conditions": [
            condition("Accepted", "True", "Its graph, models and store are as it needs them."),
            condition("RouterSynced", "True", "3/3 replicas serve revision 4."),
            condition("SampleRatioHealthy", "True", "12,031 and 12,050 units fit 50/50."),
            condition("MetricsFresh", "Unknown", "No outcome for 40 s."),
            condition("GuardrailsHealthy", "False", "p95Latency is breached."),
        ],
        "variants": [
            {
                "name": "control",
                "model": "basket-ranker@4",
                "digest": "0" * 64,
                "share": "50%",
                "buckets": ["0-5000"],
                "units": 12031,
            },
            {
                "name": "treatment",
                "model": "basket-ranker-v2@2",
                "digest": "1" * 64,
                "share": "50%",
                "buckets": ["5000-7000", "7000-10000"],
                "units": 12050,
                "fallback": "0.3%",
                "lift": {"add-to-cart": "+1.8% [-0.4%, +4.0%]", "revenue": "+0.2% [-1.9%, +2.3%]"},
            },
        ],
        "guardrails": [
            {"name": "revenue", "state": "ok", "message": "+0.2% [-1.9%, +2.3%], limit -2%"},
            {"name": "p95Latency", "state": "breached", "message": "26 ms against 20 ms, limit +20%"},
        ],
        "history": [
            {"time": "2026-11-24T10:00:00Z", "phase": "Ramping", "message": "Begun at 5%."},
            {"time": "2026-11-24T10:30:00Z", "phase": "Running", "message": "Full coverage, 2,104 units."},
        ],
    }
    return {name: value for name, value in {**found, **status}.items() if value is not None}


def course(looks: int = 40) -> list[Point]:
    """An interval that narrows around a lift that settles, while coverage rises twice."""
    points = []
    for look in range(1, looks + 1):
        lift, half = 0.018 + 0.02 / look, 0.15 / look**0.5
        coverage = 5 if look < 8 else 50 if look < 16 else 100
        bands = {"treatment": Band(lift=lift, lower=lift - half, upper=lift + half)} if look > 2 else {}
        found = {"units": 600 * look, "coverage": coverage, "log_bayes_factor": -0.5 - look / 20}
        points.append(Point(at_ms=1_764_000_000_000 + look * 30_000, bands=bands, **found))
    return points


def standing(status: dict[str, Any] | None = None, looks: int = 40, **spec: Any) -> Standing:
    parsed = ExperimentSpec.model_validate(experiment(**spec)["spec"])
    return Standing(
        Name("shop", "ranker-v2"), parsed, running() if status is None else status, tuple(course(looks))
    )


def golden(name: str, text: str) -> str:
    """What a file says; `ENDCAP_GOLDEN=write pytest` writes it anew."""
    path = GOLDEN / name
    if os.environ.get("ENDCAP_GOLDEN") == "write":
        path.write_text(text, encoding="utf-8")
    return path.read_text(encoding="utf-8")
