# SPDX-License-Identifier: Apache-2.0
"""Real ingest pods for tests: `python -m endcap_runtime.features.ingest` as a process on loopback.

with redis_server(tmp_path / "redis") as redis, ingest(features(redis.url), tmp_path / "ingest") as pod:
    pod.send(event("e1", customer_id="7"))       # 202
    pod.settled()                                # nothing waits any more
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
from model_servers import free_port, wait_ready
from server_process import ServerProcess

from endcap_api.features_config import prefix_of

ROOT = Path(__file__).resolve().parent.parent
PREFIX = prefix_of("shop", "default")
SINGLE, BATCH = "application/cloudevents+json", "application/cloudevents-batch+json"
PARQUET = "application/vnd.apache.parquet"

CUSTOMER = {"name": "customer", "keys": [{"name": "customer_id"}]}
PRODUCT = {"name": "product", "keys": [{"name": "product_id", "type": "integer"}]}


def activity(**changes: Any) -> dict[str, Any]:
    """What a customer did: storage events; counts clicks and sums purchases of up to 500."""
    return {
        "entity": CUSTOMER,
        "source": {"stream": {"lateness": "1h", "maxEvents": 4096}},
        "features": [
            {
                "name": "clicks",
                "type": "integer",
                "event": "click",
                "aggregation": "count",
                "windows": ["5m", "1h"],
            },
            {
                "name": "spend",
                "type": "number",
                "event": "purchase",
                "field": "amount",
                "aggregation": "sum",
                "windows": ["1h"],
                "minimum": 0,
                "maximum": 500,
            },
            {
                "name": "store",
                "type": "string",
                "event": "purchase",
                "field": "store",
                "aggregation": "last",
                "maxLength": 16,
                "windows": ["1h"],
            },
        ],
        **changes,
    }


def popularity(**changes: Any) -> dict[str, Any]:
    """How a product sells: storage tiles; it reads purchases, too."""
    return {
        "entity": PRODUCT,
        "source": {"stream": {"lateness": "1h", "storage": "tiles", "tiles": {"1h": "1m"}}},
        "features": [
            {
                "name": "sold",
                "type": "integer",
                "event": "purchase",
                "aggregation": "count",
                "windows": ["1h"],
            },
            {
                "name": "revenue",
                "type": "number",
                "event": "purchase",
                "field": "amount",
                "aggregation": "sum",
                "windows": ["1h"],
                "maximum": 500,
            },
        ],
        **changes,
    }


def profile(**changes: Any) -> dict[str, Any]:
    """What a job computes of a customer."""
    return {
        "entity": CUSTOMER,
        "ttl": "24h",
        "source": {"precomputed": {}},
        "features": [
            {"name": "segment", "type": "string", "default": "new", "maxLength": 16},
            {"name": "visits", "type": "integer"},
            {"name": "affinity", "type": "number"},
            {"name": "aisles", "type": "array", "items": {"type": "string"}, "maxItems": 4},
        ],
        **changes,
    }


VIEWS = {"activity": activity(), "popularity": popularity(), "profile": profile()}


def features(url: str, views: Mapping[str, Any] | None = None, **store: Any) -> dict[str, Any]:
    """A features.json with one store; `store` changes its fields, by their JSON names."""
    return {
        "namespace": "shop",
        "stores": {
            "default": {
                "url": url,
                "prefix": PREFIX,
                "maxLagMs": 10_000,
                "maxBacklog": 100_000,
                "deadLetters": 10_000,
                **store,
            }
        },
        "views": {name: {"spec": spec} for name, spec in (VIEWS if views is None else views).items()},
        "bundles": {},
    }


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def event(identity: str, kind: str = "click", at: str | None = None, **data: Any) -> dict[str, Any]:
    return {
        "specversion": "1.0",
        "id": identity,
        "source": "/tests",
        "type": kind,
        "time": at or now(),
        "data": data,
    }


def eventually(holds: Callable[[], Any], seconds: float = 20) -> Any:
    until = time.monotonic() + seconds
    while not (value := holds()):
        assert time.monotonic() < until
        time.sleep(0.05)
    return value


@dataclass
class Ingest(ServerProcess):
    """A pod's process; `log` is its stderr."""

    process: subprocess.Popen[bytes]
    port: int
    directory: Path
    environ: dict[str, str] = field(default_factory=dict)

    @property
    def log_file(self) -> Path:
        return self.directory / "stderr.log"

    def configure(self, config: Mapping[str, Any]) -> None:
        """As the kubelet does it: the new file takes the old one's place."""
        fresh = self.directory / "features" / "features.json.new"
        fresh.write_text(json.dumps(config))
        fresh.rename(fresh.with_suffix(""))

    def send(self, *events: Mapping[str, Any]) -> httpx.Response:
        """One event as one, several as a batch."""
        body, kind = (events[0], SINGLE) if len(events) == 1 else (events, BATCH)
        return self.post("/v1/events", json.dumps(body).encode(), kind)

    def post(self, path: str, body: bytes, kind: str = "application/json", **headers: str) -> httpx.Response:
        return httpx.post(
            self.url + path, content=body, headers={"content-type": kind, **headers}, timeout=30
        )

    def get(self, path: str, **query: Any) -> dict[str, Any]:
        answer = httpx.get(self.url + path, params=query, timeout=30)
        assert answer.status_code == 200, answer.text
        value: dict[str, Any] = answer.json()
        return value

    def settled(self, seconds: float = 30) -> dict[str, Any]:
        """Waits until nothing waits; answers GET /v1/views."""
        until = time.monotonic() + seconds
        while (status := self.get("/v1/views"))["backlog"]:
            assert time.monotonic() < until, f"still {status} {self.log[-2000:]}"
            time.sleep(0.02)
        return status

    def letters(self, **query: Any) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.get("/v1/dead-letters", **query)["events"]
        return found

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(10)

    def terminate(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(30)


def start(
    config: Mapping[str, Any], work: Path, consumer: str = "pod-0", environ: Mapping[str, str] | None = None
) -> Ingest:
    """Starts a pod; it may still be loading. Two pods of a test need two folders and two consumers."""
    (work / "features").mkdir(parents=True, exist_ok=True)
    port = free_port()
    environment = {
        **{key: os.environ[key] for key in ("PATH", "LANG") if key in os.environ},
        "PYTHONPATH": f"{ROOT / 'api'}:{ROOT / 'runtimes'}",
        "ENDCAP_FEATURES_DIR": str(work / "features"),
        "ENDCAP_SECRETS_DIR": str(work / "secrets"),
        "ENDCAP_HOST": "127.0.0.1",
        "ENDCAP_PORT": str(port),
        "ENDCAP_DRAIN_SECONDS": "0.1",
        "ENDCAP_TERMINATION_LOG": str(work / "termination-log"),
        "HOSTNAME": consumer,
        "HOME": str(work),
        "TMPDIR": str(work),
        **(environ or {}),
    }
    (work / "features" / "features.json").write_text(json.dumps(config))
    with (work / "stderr.log").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "endcap_runtime.features.ingest"], env=environment, stderr=log, stdout=log
        )
    return Ingest(process, port, work, environment)


@contextmanager
def ingest(
    config: Mapping[str, Any], work: Path, consumer: str = "pod-0", environ: Mapping[str, str] | None = None
) -> Iterator[Ingest]:
    """A ready pod, ended with the block."""
    pod = start(config, work, consumer, environ)
    try:
        wait_ready(pod)
        yield pod
    finally:
        if pod.process.poll() is None:
            pod.kill()


def all_sent(pod: Ingest, events: Sequence[Mapping[str, Any]], size: int = 200) -> None:
    """Sends events in batches, as often as it takes: 429 and 503 are tried again."""
    for begin in range(0, len(events), size):
        until = time.monotonic() + 60
        while (
            answer := pod.post("/v1/events", json.dumps(events[begin : begin + size]).encode(), BATCH)
        ).is_error:
            assert answer.status_code in (429, 503), answer.text
            assert time.monotonic() < until, answer.text
            time.sleep(0.05)
