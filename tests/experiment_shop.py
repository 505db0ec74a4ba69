# SPDX-License-Identifier: Apache-2.0
"""A shop that runs experiments: their configuration, exposures as a graph sends them, and outcomes."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from pathlib import Path
from time import sleep, time
from typing import Any

import httpx
from ingest_servers import VIEWS, event, features

from endcap_api.experiment_config import experiment_id

UNIT_KEY = "0123456789abcdef0123456789abcdef"
RANKER, BANNER = experiment_id("ranker-v2"), experiment_id("banner")
WEEK_MS, HOUR_MS = 7 * 86_400_000, 3_600_000

# One experiment with a conversion, a sum with a window of its own, a count and a ratio; one that reads the same events.
EXPERIMENTS: dict[str, Any] = {
    "ranker-v2": {
        "id": RANKER,
        "variants": ["control", "treatment"],
        "metrics": [
            {
                "name": "add-to-cart",
                "unit": "customer",
                "numerator": {"event": "cart", "where": {"channel": "web"}},
                "conversion": True,
                "windowMs": WEEK_MS,
            },
            {
                "name": "revenue",
                "unit": "customer",
                "numerator": {"event": "order", "field": "amount"},
                "windowMs": HOUR_MS,
            },
            {
                "name": "basket-value",
                "unit": "customer",
                "numerator": {"event": "order", "field": "amount"},
                "per": {"event": "order"},
                "windowMs": WEEK_MS,
            },
        ],
    },
    "banner": {
        "id": BANNER,
        "variants": ["control", "red", "blue"],
        "metrics": [
            {"name": "orders", "unit": "buyer", "numerator": {"event": "order"}, "windowMs": WEEK_MS},
            {"name": "carts", "unit": "customer", "numerator": {"event": "cart"}, "windowMs": HOUR_MS},
        ],
    },
}


def measured(
    url: str,
    experiments: Mapping[str, Any] | None = None,
    views: Mapping[str, Any] | None = None,
    **store: Any,
) -> dict[str, Any]:
    """A features.json whose store measures experiments."""
    config = features(url, VIEWS if views is None else views, **store)
    return {**config, "experiments": dict(EXPERIMENTS if experiments is None else experiments)}


def unit_key(work: Path) -> dict[str, str]:
    """The Secret in a folder, and the environment that names it."""
    folder = work / "unit-key"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "unitKey").write_text(UNIT_KEY)
    return {"ENDCAP_UNIT_KEY_DIR": str(folder)}


def now_ms() -> int:
    return int(time() * 1000)


def exposure(unit: str, variant: str = "treatment", **changes: Any) -> dict[str, Any]:
    """As docs/contract-experiments.md has it."""
    return {
        "schema": 1,
        "time_ms": now_ms(),
        "graph": "basket",
        "step": "rank",
        "experiment": "ranker-v2",
        "experiment_id": RANKER,
        "phase": "Running",
        "revision": 3,
        "epoch": 1,
        "unit": unit,
        "unit_type": "customer",
        "bucket": 833,
        "eligible": True,
        "variant": variant,
        "served": variant,
        "reason": "assigned",
        "propensity": 0.5,
        "in_analysis": True,
        "model": "basket-ranker-v2@2",
        "digest": None,
        "request_id": "r-1",
        "latency_ms": 12.3,
        "feature_freshness_ms": None,
        "items": [{"product": "821", "position": 1}],
        "covariates": {},
        **changes,
    }


def cart(identity: str, unit: Any, at: str | None = None, channel: str = "web") -> dict[str, Any]:
    return event(identity, "cart", at, customer=unit, channel=channel)


def order(
    identity: str, unit: Any, amount: float, at: str | None = None, buyer: Any = None
) -> dict[str, Any]:
    return event(identity, "order", at, customer=unit, buyer=unit if buyer is None else buyer, amount=amount)


def exposing(pod: Any, *exposures: Mapping[str, Any]) -> Any:
    return pod.post("/v1/exposures", json.dumps({"exposures": exposures}).encode())


def sums_of(pod: Any, identity: str = RANKER) -> dict[str, Any]:
    found: dict[str, Any] = pod.get(f"/v1/experiments/{identity}")
    return found


def settled_sums(pod: Any, identity: str = RANKER, seconds: float = 30) -> dict[str, Any]:
    """Once nothing waits: neither events nor exposures. A store that is away for a moment is asked again."""
    until = time() + seconds
    while (found := _settled(pod, identity)) is None:
        assert time() < until, pod.log[-3000:]
        sleep(0.02)
    return found


def _settled(pod: Any, identity: str) -> dict[str, Any] | None:
    pages = [
        httpx.get(f"{pod.url}{path}", timeout=30) for path in ("/v1/views", f"/v1/experiments/{identity}")
    ]
    if any(page.status_code == HTTPStatus.SERVICE_UNAVAILABLE for page in pages):
        return None
    views, sums = (page.raise_for_status().json() for page in pages)
    return None if views["backlog"] or sums["lagMs"] else sums


def in_slices(values: Sequence[Any], size: int) -> list[Sequence[Any]]:
    return [values[start : start + size] for start in range(0, len(values), size)]
