# SPDX-License-Identifier: Apache-2.0
"""A small seeded history of shopping, for tests of the examples."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
from basket.journey import Baskets, Items, Journey
from live.events import DAY_MS
from live.history import History

START = int(datetime(2017, 6, 1, tzinfo=UTC).timestamp() * 1000)
HOUSEHOLDS, ITEMS, BASKETS = 4, 6, 300


def small_history(seed: int = 3, most: int = 3) -> History:
    """Some weeks of shopping by few households, so that every window holds something and misses something."""
    random = np.random.default_rng(seed)
    seconds = np.sort(random.integers(0, 50 * 24 * 3600, BASKETS))
    # Every third on the quarter of an hour, where tiles begin.
    at_ms = START + np.sort(np.where(np.arange(BASKETS) % 3, seconds, seconds // 900 * 900)) * 1000
    week = 1 + (at_ms - START) // (7 * DAY_MS)
    held = [
        np.sort(random.choice(ITEMS, random.integers(1, most + 1), replace=False)) for _ in range(BASKETS)
    ]
    start = np.cumsum([0, *map(len, held)])
    household = random.integers(1, HOUSEHOLDS + 1, BASKETS)
    store = random.integers(1, 3, BASKETS)
    item, row = np.concatenate(held), np.repeat(np.arange(BASKETS), np.diff(start))
    keys = [f"{n:04d}" for n in range(ITEMS)]
    items = Items(keys, [f"TYPE {key}" for key in keys], ["C"] * ITEMS, ["D"] * ITEMS, np.ones(ITEMS))
    narrow = [values.astype(np.int32) for values in (week, household, store)]
    baskets = Baskets(*narrow, start, item.astype(np.int32))
    cents = random.integers(1, 5000, len(item))
    ids = 1000 + np.arange(BASKETS)
    return History(Journey(items, baskets), ids, at_ms, row, household[row], item, cents)
