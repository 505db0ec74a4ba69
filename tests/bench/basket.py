# SPDX-License-Identifier: Apache-2.0
"""The graphs that the benchmarks ask: a call, two calls, and the whole basket over 250 candidates."""

from __future__ import annotations

from typing import Any

import numpy as np
from answering import AGAIN, TOGETHER
from builders import column
from graphs import Graph

ITEMS = 2000
FEATURES = 12
CANDIDATES = TOGETHER + AGAIN
REQUEST = {
    "customer": "1467",
    "cart": ["Product 1", "Product 2", "Product 3"],
    "store": "7",
    "limit": 10,
}


def items() -> list[dict[str, Any]]:
    """As many as the example has, each in about a third of fifty stores."""
    generator = np.random.default_rng(11)
    return [
        {
            "id": str(number),
            "name": f"Product {number}",
            "category": f"category {number % 97}",
            "price": float(generator.integers(100, 900)) / 100,
            "sold": int(generator.integers(1, 1000)),
            "stores": [str(store) for store in range(50) if generator.random() < 0.33],
        }
        for number in range(ITEMS)
    ]


def graph(url: str) -> Graph:
    ranker = {
        "inputs": [column(f"f{number}") for number in range(FEATURES)],
        "outputs": [column("score")],
    }
    made = Graph().with_(deadline="2s").model("basket-ranker", url, **ranker)
    for name in ("item-cooccurrence", "buy-it-again", "popularity"):
        made = made.model(name, url)
    return made


def ranked(made: Graph) -> Graph:
    sources = ["candidate.price", "candidate.score", "candidate.together.score", "double(candidate.sold)"]
    inputs = {f"f{number}": sources[number % len(sources)] for number in range(FEATURES)}
    return made.rank(model="basket-ranker", inputs=inputs, timeout="1s")


def one_call(url: str) -> Graph:
    """A recall of twenty items, and the first ten of them."""
    return graph(url).recall("popular", "popularity").select("10")


def two_calls(url: str) -> Graph:
    """The same, ranked by two numbers."""
    two = {"inputs": [column("price"), column("score")], "outputs": [column("score")]}
    made = graph(url).model("basket-ranker", url, **two).recall("popular", "popularity")
    return made.rank(model="basket-ranker").select("10")


def basket(url: str) -> Graph:
    """Two recalls, 250 candidates, a learned rank over twelve inputs, two filters, variety, reasons."""
    reason = "Bought together with {because} in {baskets} baskets"
    recalled = (
        graph(url)
        .recall("together", "item-cooccurrence", top=200, timeout="1s", reason=reason)
        .recall("buy-again", "buy-it-again", top=50, timeout="1s", reason="You bought it {times} times")
    )
    return (
        ranked(recalled)
        .drop("not-in-cart", "candidate.name in request.cart")
        .keep("in-store", "request.store in candidate.stores")
        .limit("variety", "candidate.category", 2)
        .select(backfill=True)
        .with_(fallback=[{"catalogue": {"orderBy": "sold"}}, {"empty": {}}])
    )
