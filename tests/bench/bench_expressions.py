# SPDX-License-Identifier: Apache-2.0
"""A rule over 500 candidates: over columns, and a candidate at a time by the CEL library. µs, the best round."""

from __future__ import annotations

import timeit

import numpy as np

from endcap_api.expressions import Environment
from endcap_runtime.graph.candidates import Candidates, Recalled
from endcap_runtime.graph.catalogue import Catalogue
from endcap_runtime.graph.columns import Lists, Words
from endcap_runtime.graph.expressions import Scope, compile_expression
from endcap_runtime.graph.expressions.library import Library

ITEMS, CATEGORIES, STORES, CANDIDATES = 90_000, 300, 400, 500
GOAL_US = 100.0
VARIABLES = {
    "request.cart": "list(string)",
    "request.store": "string",
    "request.budget": "double",
    "candidate.name": "string",
    "candidate.category": "string",
    "candidate.price": "double",
    "candidate.sold": "int",
    "candidate.stores": "list(string)",
    "candidate.score": "double",
    "candidate.together.score": "double",
    "candidate.again.score": "double",
}
RULES = {
    "not in the cart": "candidate.name in request.cart",
    "sold in the store": "request.store in candidate.stores",
    "affordable": "candidate.price <= request.budget && candidate.price > 0.0",
    "category by prefix": "candidate.category.startsWith('category 1')",
    "one of some categories": "candidate.category in ['category 1', 'category 2', 'category 3']",
    "name by pattern": "candidate.name.matches('[0-9]+7$')",
    "blend": "0.7 * candidate.together.score + 0.3 * candidate.again.score",
    "all of it": "!(candidate.name in request.cart) && request.store in candidate.stores && "
    "candidate.price <= request.budget && (candidate.sold / 10 > 3 || candidate.category != 'category 9')",
}


def scope() -> Scope:
    generator = np.random.default_rng(7)
    lengths = generator.integers(1, 40, ITEMS)
    stores = [str(n) for n in generator.integers(0, STORES, int(lengths.sum()))]
    columns = {
        "id": Words.of(str(n) for n in range(ITEMS)),
        "name": Words.of(f"item {n}" for n in range(ITEMS)),
        "category": Words.of(f"category {n}" for n in generator.integers(0, CATEGORIES, ITEMS)),
        "price": generator.random(ITEMS) * 20,
        "sold": generator.integers(0, 1000, ITEMS),
        "stores": Lists(np.concatenate([[0], np.cumsum(lengths)]), Words.of(stores)),
    }
    rows = generator.choice(ITEMS, CANDIDATES, replace=False).astype(np.int32)
    score = {"score": generator.random(CANDIDATES)}
    found = [
        Recalled("together", 0, rows, score),
        Recalled("again", 1, rows[:50], {"score": score["score"][:50]}),
    ]
    request = {
        "request.cart": [f"item {n}" for n in rows[:12]],
        "request.store": "33",
        "request.budget": 12.5,
    }
    return Scope(request, Catalogue(columns, "id", "name"), Candidates.merge(found))


def best_us(statement: object, number: int, repeat: int = 7) -> float:
    return min(timeit.repeat(statement, number=number, repeat=repeat)) / number * 1e6  # type: ignore[arg-type]


def main() -> None:
    environment, given = Environment(VARIABLES), scope()
    print(f"{CANDIDATES} candidates of a catalogue of {ITEMS}; µs an evaluation\n")
    print(f"  {'rule':24}{'columns':>10}{'by row':>10}{'ratio':>8}  goal {GOAL_US:.0f}")
    for name, source in RULES.items():
        expression = compile_expression(source, environment)
        by_row = Library(environment.check(source)).over
        columns = best_us(lambda rule=expression: rule(given), 200)
        rows = best_us(lambda rule=by_row: rule(given), 5, 3)
        verdict = "ok" if columns <= GOAL_US else "short"
        print(f"  {name:24}{columns:10.1f}{rows:10.0f}{rows / columns:8.0f}  {verdict}")


if __name__ == "__main__":
    main()
