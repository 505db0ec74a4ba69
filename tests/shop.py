# SPDX-License-Identifier: Apache-2.0
"""A small shop for tests of the engine: its catalogue, its models as real servers, and a graph over them.

async with Shop(tmp_path) as shop:
    engine = shop.engine(shop.basket().select())
    shop.models["item-cooccurrence"].behaviour = "hangs"
    answer = await engine.ask(cart=["Paper plates"])
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import httpx
from graphs import CONTRACTS, ITEMS, Graph, write_catalogue
from prometheus_client import CollectorRegistry
from upstreams import Upstream

from endcap_api.v1alpha1.values import Column
from endcap_runtime.artefacts import Policy
from endcap_runtime.graph.app import GraphApp
from endcap_runtime.graph.loading import Loader
from endcap_runtime.graph.metrics import GraphMetrics
from endcap_runtime.graph.serving import Serving
from endcap_runtime.graph.sidecar import Records, Sidecar
from endcap_runtime.graph.upstream import Models
from endcap_runtime.server import Lifecycle

Columns = dict[str, list[Any]]


def together(columns: Columns) -> Columns:
    """Cutlery, balloons, gift wrap, ice cream and cups, because of the last product in the cart."""
    return {
        "item": [["4", "5", "7", "6", "2"] for _ in columns["cart"]],
        "because": [[cart[-1] if cart else ""] * 5 for cart in columns["cart"]],
        "baskets": [[1670, 90, 80, 70, 60] for _ in columns["cart"]],
        "score": [[0.9, 0.8, 0.7, 0.6, 0.5] for _ in columns["cart"]],
    }


def buy_again(columns: Columns) -> Columns:
    return {
        "item": [["8", "6"] for _ in columns["customer"]],
        "times": [[12, 7] for _ in columns["customer"]],
        "score": [[0.5, 0.4] for _ in columns["customer"]],
    }


def popular(columns: Columns) -> Columns:
    rows = len(columns["store"])
    return {"item": [["8", "1", "2", "7"]] * rows, "score": [[0.9, 0.8, 0.7, 0.6]] * rows}


def by_price(columns: Columns) -> Columns:
    return {"certainty": [0.5] * len(columns["price"]), "score": [float(price) for price in columns["price"]]}


def intent(columns: Columns) -> Columns:
    rows = len(columns["cart"])
    return {"name": ["party supplies"] * rows, "confidence": [0.6213871] * rows}


ANSWERS: dict[str, Callable[[Columns], Columns]] = {
    "item-cooccurrence": together,
    "buy-it-again": buy_again,
    "popularity": popular,
    "basket-ranker": by_price,
    "micro-intent": intent,
}


@dataclass
class Engine:
    """A served graph, asked in process; its models are real servers."""

    app: GraphApp
    serving: Serving
    registry: CollectorRegistry
    models: Models
    sidecar: Sidecar

    def client(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(transport=httpx.ASGITransport(self.app), base_url="http://graph")

    async def post(self, body: Any, **params: str) -> httpx.Response:
        async with self.client() as client:
            return await client.post("/basket", json=body, params=params)

    async def send(self, content: bytes, **headers: str) -> httpx.Response:
        async with self.client() as client:
            given = {"content-type": "application/json", **headers}
            return await client.post("/basket", content=content, headers=given)

    async def get(self, path: str) -> httpx.Response:
        async with self.client() as client:
            return await client.get(path)

    async def ask(self, **body: Any) -> dict[str, Any]:
        """The answer to a request that succeeds."""
        response = await self.post(body)
        assert response.status_code == 200, response.text
        answer: dict[str, Any] = response.json()
        return answer

    async def explain(self, **body: Any) -> dict[str, dict[str, Any]]:
        """The explanation by step."""
        response = await self.post(body, explain="true")
        return {line["step"]: line for line in response.json()["explain"]}

    def counted(self, name: str, **labels: str) -> float:
        return self.registry.get_sample_value(f"endcap_{name}", labels) or 0.0


@dataclass
class Shop:
    """Models by name; each answers well until it is told otherwise. `socket` is where a sidecar may listen."""

    work: Path
    socket: str = "/nobody/listens/here.sock"
    items: list[dict[str, Any]] = field(default_factory=lambda: ITEMS)
    models: dict[str, Upstream] = field(default_factory=dict)
    _engines: list[Engine] = field(default_factory=list)
    _digest: str = ""

    async def __aenter__(self) -> Self:
        self._digest = write_catalogue(self.work / "models/catalogue/1.parquet", self.items)
        for name, answer in ANSWERS.items():
            contract = {way: [Column(**c) for c in columns] for way, columns in CONTRACTS[name].items()}
            upstream = Upstream(contract["inputs"], contract["outputs"], answer, label=f"{name}@4")
            self.models[name] = await upstream.__aenter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        for engine in self._engines:
            await engine.models.aclose()
            await engine.sidecar.aclose()
        for upstream in self.models.values():
            await upstream.__aexit__()

    def graph(self) -> Graph:
        """No steps yet; every model exists."""
        made = Graph().items_at("s3://models/catalogue/1.parquet", self._digest)
        for name, upstream in self.models.items():
            made = made.model(name, upstream.contract.url)
        return made

    def basket(self, timeout: str = "2s") -> Graph:
        """Two recalls with reasons, not yet ranked."""
        reason = "Bought together with {because} in {baskets} baskets"
        return (
            self.graph()
            .recall("together", "item-cooccurrence", timeout=timeout, reason=reason)
            .recall("buy-again", "buy-it-again", timeout=timeout, reason="You bought it {times} times")
        )

    def engine(self, graph: Graph) -> Engine:
        """The graph, compiled and served; raises endcap_runtime's Refused."""
        registry, lifecycle, serving = CollectorRegistry(), Lifecycle(), Serving()
        metrics, models, sidecar = GraphMetrics(registry), Models(), Sidecar(self.socket)
        loader = Loader(Policy(local_store=self.work), models, metrics, sidecar)
        serving.served = loader.load(
            graph.config().model_dump_json(by_alias=True, exclude_none=True).encode()
        )
        lifecycle.loaded = True
        app = GraphApp(serving, metrics, registry, lifecycle, Records(sidecar))
        engine = Engine(app, serving, registry, models, sidecar)
        self._engines.append(engine)
        return engine


def products(answer: dict[str, Any]) -> list[str]:
    return [each["product"] for each in answer["recommendations"]]


def degraded(answer: dict[str, Any]) -> dict[str, str]:
    return {each["step"]: each["reason"] for each in answer["degraded"]}
