# SPDX-License-Identifier: Apache-2.0
"""A feature sidecar as a process, over a Redis of the test's own.

    with redis_server(tmp_path / "redis") as redis, sidecar(config_of(redis.url), tmp_path) as features:
        features.lookup(ask("customer-preference", customer_id=["7"]))

`config_of` is a small shop: three views (events, tiles, a derived row) and the bundles over them.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from model_servers import free_port, wait_ready
from server_process import ServerProcess

from endcap_api.features_config import FeaturesConfig, prefix_of
from endcap_runtime.features.layout import Event, View
from endcap_runtime.features.lookup import compile_features
from endcap_runtime.features.store import FeatureRedis

ROOT = Path(__file__).resolve().parent.parent
CUSTOMER = {"name": "customer", "keys": [{"name": "customer_id", "type": "string"}]}
PRODUCT = {"name": "product", "keys": [{"name": "product_id", "type": "string"}]}
VIEWS: dict[str, Any] = {
    "customer-activity": {
        "entity": CUSTOMER,
        "ttl": "26h",
        "source": {"stream": {"storage": "events", "lateness": "1h", "maxEvents": 16}},
        "features": [
            {"name": "clicks", "type": "integer", "event": "click", "aggregation": "count",
             "windows": ["5m", "1h"], "description": "How often the customer clicked"},
            {"name": "spend", "type": "number", "event": "purchase", "aggregation": "sum",
             "field": "amount", "windows": ["24h"]},
            {"name": "channel", "type": "string", "event": "click", "aggregation": "last",
             "field": "channel", "windows": ["24h"], "default": "none"},
        ],
    },
    "product-activity": {
        "entity": PRODUCT,
        "ttl": "26h",
        "source": {"stream": {"storage": "tiles", "lateness": "1h", "tiles": {"1h": "1m", "24h": "15m"}}},
        "features": [
            {"name": "views", "type": "integer", "event": "click", "aggregation": "count",
             "windows": ["1h", "24h"]},
            {"name": "sold", "type": "number", "event": "purchase", "aggregation": "sum",
             "field": "quantity", "windows": ["24h"]},
        ],
    },
    "customer-intent": {
        "entity": CUSTOMER,
        "ttl": "1h",
        "source": {"derived": {"model": "micro-intent"}},
        "features": [
            {"name": "last_intent", "type": "string", "default": "unknown"},
            {"name": "confidence", "type": "number", "default": 0.5},
        ],
    },
}  # fmt: skip
BUNDLES: dict[str, Any] = {
    "customer-preference": {
        "description": "What a customer is up to",
        "features": [
            {"view": "customer-activity", "feature": "clicks", "window": "1h"},
            {"view": "customer-intent", "feature": "last_intent"},
            {"view": "customer-activity", "feature": "spend", "window": "24h", "name": "spent"},
            {"view": "customer-activity", "feature": "channel", "window": "24h"},
        ],
    },
    "product": {
        "features": [
            {"view": "product-activity", "feature": "views", "window": "1h"},
            {"view": "product-activity", "feature": "sold", "window": "24h"},
        ],
    },
}
NAMESPACE = "shop"


def config_of(
    url: str,
    views: Mapping[str, Any] = VIEWS,
    bundles: Mapping[str, Any] = BUNDLES,
    version: str = "micro-intent@4",
    **store: Any,
) -> dict[str, Any]:
    """A FeaturesConfig as JSON has it; `store` changes fields of the one store, e.g. cluster=True, maxLagMs=500."""
    stored = {
        "url": url,
        "prefix": prefix_of(NAMESPACE, "default"),
        "maxLagMs": 10_000,
        "maxBacklog": 100_000,
        "deadLetters": 10_000,
        "servingLog": 1000,
        **store,
    }
    versions = {name: {"version": version} for name, spec in views.items() if "derived" in spec["source"]}
    return {
        "namespace": NAMESPACE,
        "stores": {"default": stored},
        "views": {name: {"spec": spec, **versions.get(name, {})} for name, spec in views.items()},
        "bundles": dict(bundles),
    }


def parsed(config: Mapping[str, Any]) -> FeaturesConfig:
    return FeaturesConfig.model_validate(config)


def ask(bundle: str, digest: str | None = None, **keys: list[Any]) -> dict[str, Any]:
    """One lookup of a request."""
    return {"bundle": bundle, "keys": keys, **({"digest": digest} if digest else {})}


@dataclass
class Sidecar(ServerProcess):
    """A sidecar process; `log` is its stderr, and `url` that of its probes and metrics."""

    process: subprocess.Popen[bytes]
    socket: Path
    port: int
    directory: Path
    work: Path

    @property
    def log_file(self) -> Path:
        return self.work / "features.log"

    def client(self) -> httpx.Client:
        """To its socket."""
        return httpx.Client(
            transport=httpx.HTTPTransport(uds=str(self.socket)), base_url="http://features", timeout=15
        )

    def post(self, path: str, body: Any, **headers: str) -> httpx.Response:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        with self.client() as client:
            return client.post(path, content=content, headers={"content-type": "application/json", **headers})

    def get(self, path: str) -> Any:
        with self.client() as client:
            return client.get(path).raise_for_status().json()

    def lookup(self, *lookups: Any, timeout_ms: int = 2000) -> list[dict[str, Any]]:
        """The answers, in order; anything but 200 is an error."""
        answer = self.post("/v1/lookup", {"timeout_ms": timeout_ms, "lookups": list(lookups)})
        assert answer.status_code == 200, answer.text
        found: list[dict[str, Any]] = answer.json()["lookups"]
        return found

    def metric(self, name: str, **labels: str) -> float:
        """The sum of the samples of that name with those labels."""
        total = 0.0
        for line in httpx.get(f"{self.url}/metrics").text.splitlines():
            if line.startswith((f"{name}{{", f"{name} ")) and all(
                f'{k}="{v}"' in line for k, v in labels.items()
            ):
                total += float(line.rsplit(" ", 1)[1])
        return total

    def write(self, config: Any) -> None:
        put(self.directory, config)

    def terminate(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(30)


def put(directory: Path, config: Any) -> None:
    """Writes features.json as the kubelet does, all at once; text is written as it is."""
    directory.mkdir(parents=True, exist_ok=True)
    pending = directory / ".features.json"
    pending.write_text(config if isinstance(config, str) else json.dumps(config))
    pending.rename(directory / "features.json")


def start(config: Any, work: Path, environ: Mapping[str, str] | None = None) -> Sidecar:
    """Starts `python -m endcap_runtime.features.sidecar`; it may still be loading."""
    directory = work / "features"
    work.mkdir(parents=True, exist_ok=True)
    put(directory, config)
    port = free_port()
    # A UNIX socket's path has at most 107 bytes, and the folders of tests are longer.
    socket = Path(tempfile.mkdtemp(prefix="endcap-")) / "features.sock"
    environment = {
        **{key: os.environ[key] for key in ("PATH", "LANG") if key in os.environ},
        "PYTHONPATH": f"{ROOT / 'api'}:{ROOT / 'runtimes'}",
        "PYTHONDONTWRITEBYTECODE": "1",
        "ENDCAP_FEATURES_DIR": str(directory),
        "ENDCAP_FEATURES_SOCKET": str(socket),
        "ENDCAP_SECRETS_DIR": str(work / "secrets"),
        "ENDCAP_HOST": "127.0.0.1",
        "ENDCAP_PORT": str(port),
        "ENDCAP_DRAIN_SECONDS": "0.1",
        "HOME": str(work),
        "TMPDIR": str(work),
        **(environ or {}),
    }
    with (work / "features.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "endcap_runtime.features.sidecar"], env=environment, stderr=log, stdout=log
        )
    return Sidecar(process, socket, port, directory, work)


@contextmanager
def sidecar(config: Any, work: Path, environ: Mapping[str, str] | None = None) -> Iterator[Sidecar]:
    """A ready sidecar, ended with the block."""
    server = start(config, work, environ)
    try:
        wait_ready(server)
        yield server
    finally:
        if server.process.poll() is None:
            server.process.kill()
            server.process.wait(10)
        shutil.rmtree(server.socket.parent, ignore_errors=True)


class Feeder:
    """Writes to a store what ingest, jobs and graphs write, through the same functions."""

    def __init__(self, config: Mapping[str, Any], secrets: Path = Path()) -> None:
        self._config, self._secrets = parsed(config), secrets
        self._compiled = compile_features(self._config)

    def event(self, kind: str, age_ms: int = 0, **data: Any) -> None:
        """An event of now, or of so long ago, to each view that reads it and whose entity it names."""
        asyncio.run(self._event(kind, age_ms, data))

    async def _event(self, kind: str, age_ms: int, data: dict[str, Any]) -> None:
        redis = await self._open()
        now = await redis.now_ms()
        event = Event(uuid.uuid4().hex, "tests", kind, now - age_ms, data)
        views = [v for v in self._compiled.views.values() if v.kind != "row" and {*v.event_keys} <= {*data}]
        updates = [update for view in views if (update := view.updates(event, now)) is not None]
        assert [str(outcome) for outcome in await redis.apply(updates)] == ["APPLIED"] * len(updates)
        await redis.aclose()

    def row(self, view: str, entity: str, version: str | None = None, age_ms: int = 0, **values: Any) -> None:
        asyncio.run(self._row(self._compiled.views[view], entity, version, age_ms, values))

    async def _row(
        self, view: View, entity: str, version: str | None, age_ms: int, values: dict[str, Any]
    ) -> None:
        redis = await self._open()
        at = await redis.now_ms() - age_ms
        assert await redis.put([(view.key([entity]), view.row(values, at, version), at, view.ttl_ms)]) == [
            True
        ]
        await redis.aclose()

    def key(self, view: str, entity: str) -> bytes:
        return self._compiled.views[view].key([entity])

    async def _open(self) -> FeatureRedis:
        return await FeatureRedis.open(self._config.stores["default"], self._secrets)
