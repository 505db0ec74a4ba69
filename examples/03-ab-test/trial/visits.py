# SPDX-License-Identifier: Apache-2.0
"""Visits to the till that neither ranker has seen: half of each real basket is the cart, the other what follows.

The data know no order within a basket, so a fixed seed draws which half comes first. A visit is in the file as the
request that a shop would send and the products that the household then bought, with what it paid.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from basket.names import display_names
from live.history import History
from numpy.typing import NDArray

SEED = 5
SMALLEST = 4


@dataclass(frozen=True)
class Visits:
    """V visits by time, as rows [V] of the history's baskets, and the items of each half, ascending."""

    row: NDArray[np.int64]
    cart: list[NDArray[np.int32]]
    bought: list[NDArray[np.int32]]

    def __len__(self) -> int:
        return len(self.row)


def draw(history: History, first_week: int, last_week: int) -> Visits:
    """All baskets of these weeks with at least four products."""
    baskets, random = history.journey.baskets, np.random.default_rng(SEED)
    low, high = np.searchsorted(baskets.week, [first_week, last_week + 1])
    rows = np.arange(low, high)
    rows = rows[np.diff(baskets.start)[rows] >= SMALLEST]
    rows = rows[np.argsort(history.at_ms[rows], kind="stable")]
    shuffled = [random.permutation(baskets.item[baskets.start[row] : baskets.start[row + 1]]) for row in rows]
    halves = [np.split(items, [len(items) // 2]) for items in shuffled]
    return Visits(rows, [np.sort(cart) for cart, _ in halves], [np.sort(rest) for _, rest in halves])


def lines(history: History, visits: Visits) -> Iterator[dict[str, Any]]:
    """Each visit as the replay reads it; `bought` is dollars by product."""
    items, baskets = history.journey.items, history.journey.baskets
    names = display_names(items.product_type, items.category)
    first = np.searchsorted(history.basket, visits.row)
    for row, start, cart, bought in zip(visits.row, first, visits.cart, visits.bought, strict=True):
        at = start + np.searchsorted(baskets.item[baskets.start[row] : baskets.start[row + 1]], bought)
        yield {
            "basket": str(history.basket_id[row]),
            "time": datetime.fromtimestamp(history.at_ms[row] / 1000, tz=UTC).isoformat(),
            "request": {
                "customer": str(baskets.household[row]),
                "cart": [names[item] for item in cart],
                "store": str(baskets.store[row]),
            },
            "bought": {
                names[item]: cents / 100
                for item, cents in zip(bought, history.cents[at].tolist(), strict=True)
            },
        }


def write(history: History, visits: Visits, file: Path) -> None:
    texts = [json.dumps(visit, ensure_ascii=False, separators=(",", ":")) for visit in lines(history, visits)]
    file.write_text("\n".join(texts) + "\n", encoding="utf-8")
