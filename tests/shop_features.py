# SPDX-License-Identifier: Apache-2.0
"""The features of the small shop: a real Redis, a real sidecar, and rows put into it.

async with FeatureShop(tmp_path) as features:
    await features.know("customer", ["1467"], budget=3.0)
    graph = shop.graph().features_of(features.config).looks_up("customer", "customer", entity="request.customer")
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import feature_sidecars
from redis_servers import RedisServer, redis_server

from endcap_api.features_config import FeaturesConfig
from endcap_runtime.features.layout import compile_view
from endcap_runtime.features.store import FeatureRedis

CUSTOMER = {"name": "customer", "keys": [{"name": "customer_id", "type": "string"}]}
PRODUCT = {"name": "product", "keys": [{"name": "product_id", "type": "string"}]}
PAIR = {
    "name": "pair",
    "keys": [{"name": "customer_id", "type": "string"}, {"name": "product_id", "type": "string"}],
}
VIEWS: dict[str, Any] = {
    "customer-profile": {
        "entity": CUSTOMER,
        "source": {"precomputed": {}},
        "features": [
            {"name": "budget", "type": "number", "default": 2.0, "description": "What they like to spend"},
            {"name": "segment", "type": "string", "default": "new"},
            {"name": "visits", "type": "integer"},
            {"name": "staff", "type": "boolean"},
            {"name": "likes", "type": "array", "items": {"type": "string"}},
        ],
    },
    "customer-activity": {
        "entity": CUSTOMER,
        "ttl": "26h",
        "source": {"stream": {"storage": "events", "lateness": "1h"}},
        "features": [
            {
                "name": "clicks",
                "type": "integer",
                "event": "click",
                "aggregation": "count",
                "windows": ["1h"],
                "description": "Clicks in the last hour",
            },
        ],
    },
    "product-stats": {
        "entity": PRODUCT,
        "source": {"precomputed": {}},
        "features": [
            {"name": "margin", "type": "number", "description": "Share of the price that is earned"},
            {"name": "views", "type": "integer", "default": 1},
            {"name": "brand", "type": "string", "default": "none"},
            {"name": "sellable", "type": "boolean", "default": True},
            {"name": "tags", "type": "array", "items": {"type": "string"}},
        ],
    },
    "pair-affinity": {
        "entity": PAIR,
        "source": {"precomputed": {}},
        "features": [{"name": "affinity", "type": "number", "default": 0.5}],
    },
    "customer-intent": {
        "entity": CUSTOMER,
        "ttl": "1h",
        "source": {"derived": {"model": "micro-intent"}},
        "features": [
            {"name": "last_intent", "type": "string", "default": "unknown"},
            {"name": "confidence", "type": "number"},
        ],
    },
    "customer-last": {
        "entity": CUSTOMER,
        "ttl": "1h",
        "source": {"derived": {}},
        "features": [
            {"name": "products", "type": "array", "items": {"type": "string"}},
            {"name": "best", "type": "number"},
        ],
    },
}


def bundle(view: str, *features: str, **more: Any) -> dict[str, Any]:
    return {"features": [{"view": view, "feature": feature} for feature in features], **more}


BUNDLES: dict[str, Any] = {
    "customer": {
        "features": [
            *bundle("customer-profile", "budget", "segment", "visits", "staff", "likes")["features"],
            {"view": "customer-activity", "feature": "clicks", "window": "1h"},
        ]
    },
    "product": bundle("product-stats", "margin", "views", "brand", "sellable", "tags"),
    "pair": bundle("pair-affinity", "affinity"),
    "intent": bundle("customer-intent", "last_intent", "confidence"),
    "last": bundle("customer-last", "products", "best"),
    "needed": bundle("customer-profile", "budget", required=True),
}


@contextmanager
def _again(
    config: dict[str, Any], work: Path, environ: dict[str, str], socket: Path
) -> Iterator[feature_sidecars.Sidecar]:
    with feature_sidecars.sidecar(config, work, environ) as running:
        running.socket = socket
        yield running


@dataclass
class FeatureShop:
    """`version` is that of the deployed micro-intent; `stored` changes fields of the store."""

    work: Path
    version: str = "micro-intent@4"
    near_cache_bytes: int = 0
    stored: dict[str, Any] = field(default_factory=dict)
    stack: ExitStack = field(default_factory=ExitStack)
    redis: RedisServer = field(init=False)
    sidecar: feature_sidecars.Sidecar = field(init=False)
    _store: FeatureRedis = field(init=False)

    async def __aenter__(self) -> Self:
        self.redis = self.stack.enter_context(redis_server(self.work / "redis"))
        environ = {"ENDCAP_NEAR_CACHE_BYTES": str(self.near_cache_bytes)}
        running = feature_sidecars.sidecar(self.value(), self.work, environ)
        self.sidecar = self.stack.enter_context(running)
        self._store = await FeatureRedis.open(self.config.stores["default"], self.work / "secrets")
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._store.aclose()
        self.stack.close()

    @property
    def socket(self) -> str:
        return str(self.sidecar.socket)

    def value(self, **bundles: Any) -> dict[str, Any]:
        """What the sidecar reads."""
        value = feature_sidecars.config_of(
            self.redis.url, VIEWS, BUNDLES | bundles, self.version, **self.stored
        )
        del value["views"]["customer-last"]["version"]  # it belongs to no model
        return value

    @property
    def config(self) -> FeaturesConfig:
        return feature_sidecars.parsed(self.value())

    def kill(self) -> None:
        """The sidecar, -9."""
        self.sidecar.process.kill()
        self.sidecar.process.wait(10)

    def restart(self) -> None:
        """Another sidecar on the same socket, as the kubelet starts it; ready when this returns."""
        environ = {
            "ENDCAP_NEAR_CACHE_BYTES": str(self.near_cache_bytes),
            "ENDCAP_FEATURES_SOCKET": self.socket,
        }
        self.sidecar = self.stack.enter_context(_again(self.value(), self.work, environ, self.sidecar.socket))

    def redeploy(self, version: str) -> None:
        """Another version of micro-intent, as the operator tells it."""
        self.version = version
        self.sidecar.write(self.value())

    async def know(self, view: str, entity: list[str], **values: Any) -> None:
        """Puts a row, as the bulk writer does."""
        config = self.config
        compiled = compile_view(view, config.views[view], config.stores["default"].prefix)
        now = await self._store.now_ms()
        row = compiled.row(values, now, self.version if view == "customer-intent" else None)
        assert await self._store.put([(compiled.key(entity), row, now, 3_600_000)]) == [True]

    async def lag(self, seconds: int) -> None:
        """An event that has waited for so long, and that nobody works on."""
        client, prefix = self._store.client, self.config.stores["default"].prefix
        arrived = await self._store.now_ms() - seconds * 1000
        await client.xadd(f"{prefix}:events", {"e": "{}"}, id=f"{arrived}-0")

    def served(self) -> list[dict[str, Any]]:
        """The serving log, oldest first."""
        prefix = self.config.stores["default"].prefix
        with self.redis.client() as client:
            entries = client.xrange(f"{prefix}:served")
        return [{"request_id": fields[b"r"].decode(), "value": fields[b"v"]} for _, fields in entries]

    async def until(self, holds: Any, seconds: float = 10.0) -> Any:
        """What `holds` returns once it is true."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if found := holds():
                return found
            await asyncio.sleep(0.02)
        raise AssertionError(f"not within {seconds} s; {self.sidecar.log[-2000:]}")
