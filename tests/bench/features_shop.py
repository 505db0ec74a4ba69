# SPDX-License-Identifier: Apache-2.0
"""What the feature benchmark looks up: one customer and 200 products, three views, twelve features.

Events of the last hour fill the windows through the store's own functions; the same values go to Feast.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from feature_sidecars import CUSTOMER, PRODUCT, ask, config_of, parsed

from endcap_runtime.features.layout import Event
from endcap_runtime.features.lookup import Compiled, compile_features
from endcap_runtime.features.store import FeatureRedis

PRODUCTS = 500
ASKED = 200
EVENTS = 20  # of each product
WHO = "7"


def _feature(name: str, kind: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "type": kind, **more}


VIEWS: dict[str, Any] = {
    "customer-activity": {
        "entity": CUSTOMER, "ttl": "26h",
        "source": {"stream": {"storage": "events", "lateness": "1h", "maxEvents": 64}},
        "features": [
            _feature("clicks", "integer", event="click", aggregation="count", windows=["5m", "1h", "24h"]),
            _feature("spend", "number", event="purchase", field="amount", aggregation="sum", windows=["24h"]),
        ],
    },
    "product-activity": {
        "entity": PRODUCT, "ttl": "26h",
        "source": {"stream": {"storage": "tiles", "lateness": "1h", "tiles": {"1h": "1m", "24h": "1h"}}},
        "features": [
            _feature("views", "integer", event="click", aggregation="count", windows=["1h", "24h"]),
            _feature("sold", "number", event="purchase", field="quantity", aggregation="sum", windows=["1h", "24h"]),
        ],
    },
    "product-profile": {
        "entity": PRODUCT, "ttl": "720h", "source": {"precomputed": {}},
        "features": [
            _feature("price", "number"), _feature("margin", "number"),
            _feature("stock", "integer"), _feature("rating", "number"),
        ],
    },
}  # fmt: skip
BUNDLES: dict[str, Any] = {
    "customer": {"features": [
        *({"view": "customer-activity", "feature": "clicks", "window": window} for window in ("5m", "1h", "24h")),
        {"view": "customer-activity", "feature": "spend", "window": "24h"},
    ]},
    "product": {"features": [
        *({"view": "product-activity", "feature": feature, "window": window}
          for feature in ("views", "sold") for window in ("1h", "24h")),
        *({"view": "product-profile", "feature": feature} for feature in ("price", "margin", "stock", "rating")),
    ]},
}  # fmt: skip


def configuration(url: str) -> dict[str, Any]:
    return config_of(url, VIEWS, BUNDLES)


def request() -> bytes:
    """One lookup request, as a graph sends it."""
    products = [str(number) for number in range(ASKED)]
    lookups = [ask("customer", customer_id=[WHO]), ask("product", product_id=products)]
    return json.dumps({"request_id": "bench", "timeout_ms": 5000, "lookups": lookups}).encode()


def keys(compiled: Compiled) -> list[str]:
    """The keys in Redis that the request reads."""
    products = [str(number) for number in range(ASKED)]
    parts = [
        *compiled.bundles["customer"].keys({"customer_id": [WHO]}),
        *compiled.bundles["product"].keys({"product_id": products}),
    ]
    return [key.decode() for part in parts for key in part]


async def fill(config: dict[str, Any]) -> Compiled:
    """Every product has events in its windows and a row, and so has the customer."""
    compiled = compile_features(parsed(config))
    redis = await FeatureRedis.open(compiled.config.stores["default"], Path())
    now = await redis.now_ms()
    updates = [
        update
        for event in _events(now)
        for view in ("customer-activity", "product-activity")
        if (update := compiled.views[view].updates(event, now)) is not None
    ]
    for start in range(0, len(updates), 500):
        await redis.apply(updates[start : start + 500])
    profile = compiled.views["product-profile"]
    rows = [
        (profile.key([str(number)]), profile.row(_profile(number), now), now, profile.ttl_ms)
        for number in range(PRODUCTS)
    ]
    await redis.put(rows)
    await redis.aclose()
    return compiled


def _events(now: int) -> Iterator[Event]:
    chance = random.Random(7)  # noqa: S311 (the same events each time)
    for number in range(PRODUCTS):
        for turn in range(EVENTS):
            data = {
                "product_id": str(number),
                "customer_id": str(number % 500),
                "quantity": 2.0,
                "amount": 4.5,
            }
            kind = chance.choice(["click", "purchase"])
            yield Event(f"{number}-{turn}", "bench", kind, now - chance.randrange(3_500_000), data)


def _profile(number: int) -> dict[str, Any]:
    return {"price": 1.5 + number, "margin": 0.25, "stock": number, "rating": 4.5}


async def values_of(config: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """By view: the keys of its entities, and its columns as they are now. This is what Feast is given."""
    compiled = compile_features(parsed(config))
    redis = await FeatureRedis.open(compiled.config.stores["default"], Path())
    found = {}
    for name, view in compiled.views.items():
        ids = [WHO] if name == "customer-activity" else [str(number) for number in range(PRODUCTS)]
        evaluated = view.evaluate(await redis.read([view.key([i]) for i in ids]), await redis.now_ms())
        columns = {c.name: v.tolist() for c, v in zip(view.columns, evaluated.values, strict=True)}
        found[name] = {view.event_keys[0]: ids, **columns}
    await redis.aclose()
    return found


def feast_request() -> bytes:
    """The same features of the same entities, as Feast is asked for them: a row a product."""
    names = [
        f"{view.replace('-', '_')}:{name}"
        for view, spec in VIEWS.items()
        for feature in spec["features"]
        for name in _columns(feature)
    ]
    products = [str(number) for number in range(ASKED)]
    entities = {"customer_id": [WHO] * ASKED, "product_id": products}
    return json.dumps({"features": names, "entities": entities}).encode()


def _columns(feature: dict[str, Any]) -> list[str]:
    return [f"{feature['name']}_{window}" for window in feature.get("windows", ())] or [feature["name"]]
