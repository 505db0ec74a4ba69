# SPDX-License-Identifier: Apache-2.0
"""Experiments with figures: a spec, and the sums of units that were drawn or told."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from endcap_api.experiment_config import (
    ExperimentServing,
    ExperimentSums,
    Latency,
    Sums,
    VariantServing,
    VariantSums,
)
from endcap_api.v1alpha1.experiment import ExperimentSpec
from endcap_operator.analysis.latency import FIRST_MS, GROWTH
from endcap_operator.analysis.look import Epoch

Floats = NDArray[np.float64]
ID = "0123456789ab"
NOW = 1_900_000_000_000
METRIC = "add-to-cart"


def experiment(**changes: Any) -> ExperimentSpec:
    """Two arms, 50 to 50; `changes` in the spelling of YAML, None takes a field away."""
    spec: dict[str, Any] = {
        "graph": "basket",
        "step": "rank",
        "unit": ["request.customer"],
        "variants": [
            {"name": "control", "baseline": True, "weight": 50},
            {"name": "treatment", "weight": 50, "model": "basket-ranker-v2"},
        ],
        "store": "default",
        "metrics": [{"name": METRIC, "event": "add_to_cart", "unit": "customer"}],
        "primary": METRIC,
    }
    merged = {**spec, **changes}
    return ExperimentSpec.model_validate({k: v for k, v in merged.items() if v is not None})


def weighed(**weights: int) -> list[dict[str, Any]]:
    """Variants with these weights; the first is the baseline."""
    first = next(iter(weights))
    return [
        {"name": n, "weight": w, **({"baseline": True} if n == first else {"model": f"ranker-{n}"})}
        for n, w in weights.items()
    ]


def sums_of(y: Floats, x: Floats | None = None, d: Floats | None = None) -> Sums:
    """Over units, in numpy's pairwise summation."""
    x = np.zeros(len(y)) if x is None else x
    d = np.zeros(len(y)) if d is None else d
    pairs = {"y": y, "yy": y * y, "x": x, "xx": x * x, "xy": x * y, "d": d, "dd": d * d, "yd": y * d}
    return Sums(**{name: float(np.sum(values)) for name, values in pairs.items()})


def arm(y: Floats, x: Floats | None = None, d: Floats | None = None, metric: str = METRIC) -> VariantSums:
    return VariantSums(units=len(y), metrics={metric: sums_of(y, x, d)})


def converted(units: int, conversions: int, metric: str = METRIC) -> VariantSums:
    """Units of which so many had an outcome."""
    return VariantSums(units=units, metrics={metric: Sums(y=conversions, yy=conversions)})


def counted(
    epochs: Mapping[str, Mapping[str, VariantSums]] | None = None, **variants: VariantSums
) -> ExperimentSums:
    """The answer of an ingest pod, of now; `variants` are those of the first epoch."""
    told = {n: dict(arms) for n, arms in (epochs or {"1": variants}).items()}
    return ExperimentSums(id=ID, at_ms=NOW, newest_ms=NOW, epochs=told)


def even_epochs(**buckets: int) -> dict[str, Epoch]:
    """One epoch at full coverage."""
    sizes = buckets or {"control": 5000, "treatment": 5000}
    return {"1": Epoch(buckets=sizes, coverages=[100])}


def histogram(milliseconds: Floats) -> Latency:
    """As a graph pod counts."""
    places = np.ceil(np.log(np.maximum(milliseconds, FIRST_MS) / FIRST_MS) / np.log(GROWTH) - 1e-9)
    return Latency(counts=np.bincount(places.astype(int)).tolist())


def page(identity: str = ID, **variants: VariantServing) -> ExperimentServing:
    return ExperimentServing(id=identity, revision=1, variants=variants)
