# SPDX-License-Identifier: Apache-2.0
"""Graph servers as processes, with experiments and without a model: a list is ranked by one expression or another."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from graphs import Graph, GraphServer, put, start, write_catalogue
from shop_exposures import Tried, experiment

from endcap_api.assignment import bucket, holds, parse_ranges

SALT = "basket.rank.ranker-v2"
CHEAPEST = "0.0 - candidate.price"


def listed() -> Graph:
    """Three products, the dearest first."""
    return Graph().takes("few", '["1", "2", "6"]').rank(by="candidate.price").select()


def weighted(control: int, **changes: Any) -> dict[str, Any]:
    """Control has the first buckets, treatment the others."""
    variants = [
        {"name": "control", "baseline": True, "buckets": [f"0-{control}"], "weight": control},
        {
            "name": "treatment",
            "by": CHEAPEST,
            "buckets": [f"{control}-10000"],
            "weight": 10_000 - control,
        },
    ]
    return experiment(**{"variants": variants, **changes})


def tried(work: Path, **experiments: Any) -> Tried:
    """The graph over the small catalogue, which it puts into the store of `work`."""
    digest = write_catalogue(work / "store/models/catalogue/1.parquet")
    named = {name.replace("_", "-"): value for name, value in experiments.items()}
    return Tried.of(listed().items_at("s3://models/catalogue/1.parquet", digest), named)


def begin(
    work: Path, graph: Graph, environ: Mapping[str, str] | None = None, place: str = "graph"
) -> GraphServer:
    """A server on `work/<place>/graph`, with the store of `work`; it may still be loading."""
    put(work / place / "graph", graph.value())
    return start(work / place, work / "store", environ)


def due(config: Mapping[str, Any], unit: str) -> str:
    """The variant of a unit by the algorithm and the ranges of an experiment."""
    number = bucket(config["salt"], unit)
    return next(v["name"] for v in config["variants"] if holds(parse_ranges(v["buckets"]), number))
