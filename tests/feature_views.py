# SPDX-License-Identifier: Apache-2.0
"""Views for tests, from as little as a test wants to say."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from endcap_api.features_config import StoreConfig, ViewConfig
from endcap_runtime.features.layout import View, compile_view

PREFIX = "0badcafe"
CLICKS = {"name": "clicks", "type": "integer", "event": "click", "aggregation": "count"}
SPEND = {"name": "spend", "type": "number", "event": "purchase", "field": "amount", "aggregation": "sum"}
CUSTOMER = [{"name": "customer_id"}]


def view_config(
    source: dict[str, Any],
    *features: dict[str, Any],
    keys: Sequence[dict[str, Any]] = CUSTOMER,
    ttl: str = "26h",
    version: str | None = None,
) -> ViewConfig:
    spec = {"entity": {"name": "customer", "keys": list(keys)}, "ttl": ttl, "source": source}
    return ViewConfig.model_validate({"spec": {**spec, "features": list(features)}, "version": version})


def stream(storage: str = "events", **options: Any) -> dict[str, Any]:
    return {"stream": {"storage": storage, **options}}


def windowed(feature: dict[str, Any], *windows: str, **more: Any) -> dict[str, Any]:
    return {**feature, "windows": list(windows or ("1h",)), **more}


def a_view(source: dict[str, Any], *features: dict[str, Any], prefix: str = PREFIX, **options: Any) -> View:
    return compile_view("customer-activity", view_config(source, *features, **options), prefix)


def store_config(url: str, **options: Any) -> StoreConfig:
    known = {"prefix": PREFIX, "max_lag_ms": 10_000, "max_backlog": 100_000, "dead_letters": 10_000}
    return StoreConfig.model_validate({"url": url, **known, **options})
