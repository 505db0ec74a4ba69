# SPDX-License-Identifier: Apache-2.0
"""The small shop in an experiment: its ranker against another, and whatever follows its answers.

async with TryingShop(tmp_path) as shop:
    engine = shop.trying(shop.basket().rank(model="basket-ranker").select(), experiment(exposures=door.url))
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from graphs import CONTRACTS, Graph
from prometheus_client import CollectorRegistry
from shop import Columns, Engine, Shop
from upstreams import Upstream

from endcap_api.runtime_config import GraphConfig
from endcap_api.v1alpha1.values import Column
from endcap_runtime.artefacts import Policy
from endcap_runtime.graph.app import GraphApp
from endcap_runtime.graph.experiments.forcing import ForceKey
from endcap_runtime.graph.exposures import Exposures
from endcap_runtime.graph.following import following
from endcap_runtime.graph.loading import Loader
from endcap_runtime.graph.metrics import GraphMetrics
from endcap_runtime.graph.serving import Served, Serving
from endcap_runtime.graph.shadow import Shadows
from endcap_runtime.graph.sidecar import Records, Sidecar
from endcap_runtime.graph.upstream import Models
from endcap_runtime.server import Lifecycle

CHALLENGER = "basket-ranker-v2"
IDENTITY = "5a1e7c0ffee0"


def cheapest(columns: Columns) -> Columns:
    """The opposite of the shop's own ranker."""
    prices = [-float(price) for price in columns["price"]]
    return {"certainty": [0.5] * len(prices), "score": prices}


def experiment(step: str = "rank", **changes: Any) -> dict[str, Any]:
    """ranker-v2 as a graph reads it: half of the units each."""
    value = {
        "id": IDENTITY,
        "revision": 3,
        "epoch": 1,
        "phase": "Running",
        "step": step,
        "mode": "split",
        "enabled": True,
        "unit": ["request.customer"],
        "salt": "basket.rank.ranker-v2",
        "variants": [
            {"name": "control", "baseline": True, "buckets": ["0-5000"], "weight": 5000, "digest": "c" * 64},
            {
                "name": "treatment",
                "model": CHALLENGER,
                "buckets": ["5000-10000"],
                "weight": 5000,
                "digest": "d" * 64,
            },
        ],
        **changes,
    }
    return {name: given for name, given in value.items() if given is not None}


def everyone_in(variant: str) -> list[dict[str, Any]]:
    """The variants of `experiment`, all units in one of them."""
    both = experiment()["variants"]
    return [
        {**each, "weight": 10_000 if each["name"] == variant else 0, "buckets": _all(each["name"] == variant)}
        for each in both
    ]


def _all(whole: bool) -> list[str]:  # noqa: FBT001
    return ["0-10000"] if whole else []


@dataclass
class Tried(Graph):
    """A graph with experiments."""

    experiments: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, graph: Graph, experiments: Mapping[str, Any]) -> Self:
        return cls(**{**vars(graph), "experiments": experiments})

    def value(self) -> dict[str, Any]:
        return super().value() | {"experiments": dict(self.experiments)}

    def config(self) -> GraphConfig:
        return GraphConfig.model_validate(self.value())


@dataclass
class TryingEngine(Engine):
    """An engine with what follows its answers, as the process has it."""

    metrics: GraphMetrics
    exposures: Exposures
    shadows: Shadows

    async def aclose(self) -> None:
        await self.exposures.aclose(0.2)
        await self.shadows.aclose()


class TryingShop(Shop):
    """The shop with a challenger of its ranker."""

    async def __aenter__(self) -> Self:
        await super().__aenter__()
        contract = CONTRACTS["basket-ranker"]
        inputs, outputs = ([Column(**each) for each in contract[way]] for way in ("inputs", "outputs"))
        self.challenger = Upstream(inputs, outputs, cheapest, label=f"{CHALLENGER}@2")
        self.models[CHALLENGER] = await self.challenger.__aenter__()
        self._trying: list[TryingEngine] = []
        return self

    async def __aexit__(self, *error: object) -> None:
        for engine in self._trying:
            await engine.aclose()
        await super().__aexit__(*error)

    @property
    def force_key(self) -> Path:
        """The file of the key by which a request may name its variant; not there unless a test writes it."""
        return self.work / "forceKey"

    def graph(self) -> Graph:
        url = self.challenger.contract.url
        return super().graph().model(CHALLENGER, url, **CONTRACTS["basket-ranker"])

    def ranked(self) -> Graph:
        """The graph that the experiment is about."""
        return self.basket().rank(model="basket-ranker").select()

    def trying(self, graph: Graph, **experiments: Any) -> TryingEngine:
        """The graph with experiments by name (ranker_v2 is ranker-v2), compiled and served."""
        registry, lifecycle, serving = CollectorRegistry(), Lifecycle(), Serving()
        metrics, models, sidecar = GraphMetrics(registry), Models(), Sidecar(self.socket)
        exposures, shadows = Exposures(), Shadows(metrics)
        lifecycle.loaded = True
        after = following(exposures, shadows)
        records, key = Records(sidecar), ForceKey(self.force_key)
        app = GraphApp(serving, metrics, registry, lifecycle, records, force_key=key, after=after)
        engine = TryingEngine(app, serving, registry, models, sidecar, metrics, exposures, shadows)
        serving.served = self.load(engine, graph, **experiments)
        self._engines.append(engine)
        self._trying.append(engine)
        return engine

    def load(self, engine: TryingEngine, graph: Graph, **experiments: Any) -> Served:
        """A revision of the graph for an engine."""
        named = {name.replace("_", "-"): value for name, value in experiments.items()}
        loader = Loader(Policy(local_store=self.work), engine.models, engine.metrics, engine.sidecar)
        text = Tried.of(graph, named).config().model_dump_json(by_alias=True, exclude_none=True)
        return loader.load(text.encode())
