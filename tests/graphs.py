# SPDX-License-Identifier: Apache-2.0
"""Graphs for tests: a fluent builder of their configuration, a small catalogue, and a server process."""

from __future__ import annotations

import copy
import hashlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import httpx
import pyarrow as pa
import pyarrow.parquet as pq
from builders import column
from model_servers import ROOT, free_port, wait_ready
from server_process import ServerProcess

from endcap_api.features_config import FeaturesConfig, ViewContract
from endcap_api.runtime_config import GraphConfig

CATALOGUE_COLUMNS = [
    column("id", "string"),
    column("name", "string"),
    column("category", "string"),
    column("price"),
    column("sold", "integer"),
    column("stores", "array", "string"),
]
ITEMS: list[dict[str, Any]] = [
    {
        "id": "1",
        "name": "Paper plates",
        "category": "party",
        "price": 2.5,
        "sold": 90,
        "stores": ["330", "7"],
    },
    {"id": "2", "name": "Plastic cups", "category": "party", "price": 1.5, "sold": 80, "stores": ["330"]},
    {"id": "3", "name": "Paper napkins", "category": "party", "price": 1.0, "sold": 70, "stores": ["330"]},
    {"id": "4", "name": "Plastic cutlery", "category": "party", "price": 3.0, "sold": 60, "stores": ["330"]},
    {"id": "5", "name": "Balloons", "category": "party", "price": 2.0, "sold": 50, "stores": ["330", "7"]},
    {"id": "6", "name": "Ice cream", "category": "frozen", "price": 4.0, "sold": 40, "stores": ["330"]},
    {"id": "7", "name": "Gift wrap", "category": "paper", "price": 3.5, "sold": 30, "stores": ["7"]},
    {"id": "8", "name": "Milk", "category": "dairy", "price": 1.2, "sold": 200, "stores": ["330", "7"]},
]
CONTRACTS: dict[str, dict[str, Any]] = {
    "item-cooccurrence": {
        "inputs": [column("cart", "array", "product")],
        "outputs": [
            column("item", "array", "product"),
            column("score", "array", "number"),
            column("because", "array", "product"),
            column("baskets", "array", "integer"),
        ],
    },
    "buy-it-again": {
        "inputs": [column("customer", "string")],
        "outputs": [
            column("item", "array", "product"),
            column("score", "array", "number"),
            column("times", "array", "integer"),
        ],
    },
    "popularity": {
        "inputs": [column("store", "string")],
        "outputs": [column("item", "array", "product"), column("score", "array", "number")],
    },
    "basket-ranker": {
        "inputs": [column("price"), column("sold", "integer")],
        "outputs": [column("certainty"), column("score")],
    },
    "micro-intent": {
        "inputs": [column("cart", "array", "product")],
        "outputs": [column("name", "string"), column("confidence")],
    },
}
REQUEST: dict[str, Any] = {
    "customer": {"type": "string", "description": "Household id"},
    "cart": {"type": "array", "items": {"type": "product"}},
    "store": {"type": "string"},
    "limit": {"type": "integer", "default": 10, "minimum": 1, "maximum": 50},
}


def write_catalogue(path: Path, items: list[dict[str, Any]] = ITEMS) -> str:
    """A Parquet file; returns its SHA-256."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(items), path)
    return hashlib.sha256(path.read_bytes()).hexdigest()


@dataclass
class Graph:
    """A graph in the making; each method returns a changed copy, so one start serves many tests."""

    steps: list[dict[str, Any]] = field(default_factory=list)
    models: dict[str, dict[str, Any]] = field(default_factory=dict)
    rest: dict[str, Any] = field(default_factory=dict)
    catalogue: dict[str, Any] = field(
        default_factory=lambda: {
            "uri": "s3://models/catalogue/1.parquet",
            "sha256": "0" * 64,
            "columns": CATALOGUE_COLUMNS,
        }
    )
    request: dict[str, Any] = field(default_factory=lambda: copy.deepcopy(REQUEST))
    store: FeaturesConfig | None = None
    keeps: list[dict[str, Any]] = field(default_factory=list)

    def model(self, name: str, url: str, **contract: Any) -> Self:
        """A model that exists at `url`, under its usual contract unless given."""
        made = copy.deepcopy(self)
        made.models[name] = {"url": url, **CONTRACTS.get(name, {}), **contract}
        return made

    def step(self, name: str, **spec: Any) -> Self:
        made = copy.deepcopy(self)
        made.steps.append({"name": name, **spec})
        return made

    def recall(self, name: str, model: str, /, **rest: Any) -> Self:
        """Options of the step itself (timeout, onError) go with the step, all others with recall."""
        return self.step(name, **_split("recall", {"model": model}, rest))

    def takes(self, name: str, products: str, /, **rest: Any) -> Self:
        """A recall step that takes a list."""
        return self.step(name, **_split("recall", {"products": products}, rest))

    def ask(self, name: str, model: str, /, **rest: Any) -> Self:
        return self.step(name, **_split("model", {"model": model}, rest))

    def looks_up(self, name: str, bundle: str, /, **rest: Any) -> Self:
        """entity=… or keys=…; the bundle is one of `features_of`."""
        return self.step(name, **_split("features", {"bundle": bundle}, rest))

    def features_of(self, config: FeaturesConfig) -> Self:
        """The bundles and views of a sidecar's configuration: the graph gets the contracts of those that it names."""
        made = copy.deepcopy(self)
        made.store = config
        return made

    def writes(self, view: str, features: dict[str, str], /, **key: Any) -> Self:
        made = copy.deepcopy(self)
        made.keeps.append({"view": view, "features": features, **key})
        return made

    def rank(self, name: str = "rank", **rest: Any) -> Self:
        return self.step(name, **_split("rank", {}, rest))

    def keep(self, name: str, rule: str, **rest: Any) -> Self:
        return self.step(name, filter={"keep": rule}, **rest)

    def drop(self, name: str, rule: str, **rest: Any) -> Self:
        return self.step(name, filter={"drop": rule}, **rest)

    def limit(self, name: str, per: str, most: int, **rest: Any) -> Self:
        return self.step(name, limit={"per": per, "max": most}, **rest)

    def select(self, count: str = "request.limit", *, backfill: bool = False) -> Self:
        return self.step("top", select={"count": count, "backfill": backfill})

    def with_(self, **rest: Any) -> Self:
        """Fields of the spec: deadline, limits, fallback, description."""
        made = copy.deepcopy(self)
        made.rest |= rest
        return made

    def field(self, name: str, **spec: Any) -> Self:
        made = copy.deepcopy(self)
        made.request[name] = spec
        return made

    def items_at(self, uri: str, sha256: str) -> Self:
        made = copy.deepcopy(self)
        made.catalogue |= {"uri": uri, "sha256": sha256}
        return made

    def value(self) -> dict[str, Any]:
        """The configuration as JSON has it."""
        spec = {
            "api": {"path": "/basket", "request": self.request},
            "catalogue": self.catalogue,
            "deadline": "2s",
            "steps": self.steps,
            **({"writeBack": self.keeps} if self.keeps else {}),
            **self.rest,
        }
        value = {"name": "basket", "namespace": "shop", "spec": spec, "models": self.models}
        return value | (self._contracts(self.store) if self.store else {})

    def _contracts(self, config: FeaturesConfig) -> dict[str, Any]:
        named = {step["features"]["bundle"] for step in self.steps if "features" in step}
        bundles = {name: config.contract(name).dump() for name in named}
        views = {each["view"]: ViewContract.of(config.views[each["view"]].spec).dump() for each in self.keeps}
        return {"bundles": bundles, "views": views}

    def config(self) -> GraphConfig:
        return GraphConfig.model_validate(self.value())


def _split(kind: str, inner: dict[str, Any], rest: dict[str, Any]) -> dict[str, Any]:
    outer = {name: rest.pop(name) for name in ("timeout", "onError") if name in rest}
    return {kind: inner | rest, **outer}


@dataclass
class GraphServer(ServerProcess):
    """A server process that follows a directory; `log` is its stderr."""

    process: subprocess.Popen[bytes]
    port: int
    directory: Path
    work: Path

    @property
    def log_file(self) -> Path:
        return self.work / "stderr.log"

    def ask(self, body: Any, **params: str) -> httpx.Response:
        return httpx.post(f"{self.url}/basket", json=body, params=params, timeout=10)

    def revision(self) -> dict[str, Any]:
        value: dict[str, Any] = httpx.get(f"{self.url}/-/revision").json()
        return value

    def write(self, value: Any, name: str = "graph.json") -> None:
        put(self.directory, value, name)

    def terminate(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(30)


def put(directory: Path, value: Any, name: str = "graph.json") -> None:
    """Writes as the kubelet does, all at once; text is written as it is."""
    directory.mkdir(parents=True, exist_ok=True)
    pending = directory / f".{name}"
    pending.write_text(value if isinstance(value, str) else json.dumps(value))
    pending.rename(directory / name)


def start(work: Path, store: Path, environ: Mapping[str, str] | None = None) -> GraphServer:
    """Starts `python -m endcap_runtime.graph` on `work/graph`; it may still be loading."""
    directory = work / "graph"
    directory.mkdir(parents=True, exist_ok=True)
    port = free_port()
    environment = {
        **{key: os.environ[key] for key in ("PATH", "LANG") if key in os.environ},
        "PYTHONPATH": f"{ROOT / 'api'}:{ROOT / 'runtimes'}",
        "PYTHONDONTWRITEBYTECODE": "1",
        "ENDCAP_GRAPH_DIR": str(directory),
        "ENDCAP_LOCAL_STORE": str(store),
        "ENDCAP_HOST": "127.0.0.1",
        "ENDCAP_PORT": str(port),
        "ENDCAP_DRAIN_SECONDS": "0.3",
        "HOME": str(work),
        "TMPDIR": str(work),
        **(environ or {}),
    }
    with (work / "stderr.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "endcap_runtime.graph"], env=environment, stderr=log, stdout=log
        )
    return GraphServer(process, port, directory, work)


@contextmanager
def serving(
    graph: Graph, work: Path, environ: Mapping[str, str] | None = None, items: list[dict[str, Any]] = ITEMS
) -> Iterator[GraphServer]:
    """A ready server with the small catalogue in its store, ended with the block."""
    digest = write_catalogue(work / "store/models/catalogue/1.parquet", items)
    put(work / "graph", graph.items_at("s3://models/catalogue/1.parquet", digest).value())
    server = start(work, work / "store", environ)
    try:
        wait_ready(server)
        yield server
    finally:
        if server.process.poll() is None:
            server.process.kill()
            server.process.wait(10)
