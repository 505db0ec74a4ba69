# SPDX-License-Identifier: Apache-2.0
"""What a history of events must come to, counted by hand, and what the store says of it."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import orjson
from ingest_servers import PREFIX, VIEWS, event

from endcap_api.features_config import ViewConfig
from endcap_runtime.features.layout import View, compile_view

CUSTOMERS, PRODUCTS = 12, 8
Totals = dict[str, dict[tuple[str, int], Any]]


def history(run: str, count: int, seed: int) -> list[dict[str, Any]]:
    """Clicks and purchases of now, with ids of their own; amounts in cents."""
    chance = random.Random(seed)  # noqa: S311 the same history each time
    return [_event(f"{run}-{index}", chance) for index in range(count)]


def _event(identity: str, chance: random.Random) -> dict[str, Any]:
    customer = str(chance.randrange(CUSTOMERS))
    if chance.random() < 0.5:
        return event(identity, "click", customer_id=customer)
    product, amount = chance.randrange(PRODUCTS), chance.randrange(50_000) / 100
    return event(identity, "purchase", customer_id=customer, product_id=product, amount=amount, store="a")


def totals(events: Iterable[Mapping[str, Any]]) -> Totals:
    """By column, then by kind of entity and entity; each id once."""
    once = {(given["source"], given["id"]): given for given in events}.values()
    clicks: Counter[Any] = Counter()
    spend: Counter[Any] = Counter()
    sold: Counter[Any] = Counter()
    revenue: Counter[Any] = Counter()
    for given in once:
        data = given["data"]
        if given["type"] == "click":
            clicks[data["customer_id"]] += 1
        else:
            spend[data["customer_id"]] += round(data["amount"] * 100)
            revenue[data["product_id"]] += round(data["amount"] * 100)
            sold[data["product_id"]] += 1
    customers = [str(number) for number in range(CUSTOMERS)]
    return {
        "clicks_1h": {c: clicks[c] for c in customers},
        "spend_1h": {c: spend[c] / 100 for c in customers},
        "sold_1h": {p: sold[p] for p in range(PRODUCTS)},
        "revenue_1h": {p: revenue[p] / 100 for p in range(PRODUCTS)},
    }


def compiled(name: str) -> View:
    return compile_view(name, ViewConfig.model_validate({"spec": VIEWS[name]}), PREFIX)


def stored(client: Any) -> Totals:
    """The same as the store has it, read by a plain client of Redis."""
    found: Totals = {}
    for name, entities in (("activity", [str(n) for n in range(CUSTOMERS)]), ("popularity", range(PRODUCTS))):
        found |= _columns(client, compiled(name), list(entities))
    return {name: found[name] for name in ("clicks_1h", "spend_1h", "sold_1h", "revenue_1h")}


def _columns(client: Any, view: View, entities: Sequence[Any]) -> Totals:
    states = [client.get(view.key([entity])) for entity in entities]
    evaluated = view.evaluate(states, time.time_ns() // 1_000_000)
    return {
        column.name: dict(zip(entities, values.tolist(), strict=True))
        for column, values in zip(view.columns, evaluated.values, strict=True)
    }


def texts(events: Iterable[Mapping[str, Any]]) -> list[bytes]:
    return [orjson.dumps(given) for given in events]
