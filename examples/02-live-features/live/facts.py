# SPDX-License-Identifier: Apache-2.0
"""How a product is bought again: what a weekly job would count, and `endcap features load` brings in."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from live.history import History

DAY_MS = 86_400_000
SOON_DAYS = 28.0
DECIMALS = 4
NAMES = ("repeat_days", "repeat_share")

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Facts:
    """One row a product, [I] each: the columns of the view `product-facts`."""

    repeat_days: Floats
    repeat_share: Floats


def count(history: History, last_week: int) -> Facts:
    """From the purchases of the weeks 1..last_week alone."""
    past = history.journey.baskets.week[history.basket] <= last_week
    household, item, ms = history.household[past], history.item[past], history.time_ms[past]
    order = np.lexsort((ms, item, household))
    household, item, days = household[order], item[order], ms[order] / DAY_MS
    again = (household[1:] == household[:-1]) & (item[1:] == item[:-1])
    gap = np.r_[np.where(again, np.diff(days), np.inf), np.inf]
    return _facts(gap, item, len(history.journey.items.key))


def _facts(gap: Floats, item: NDArray[np.int64], items: int) -> Facts:
    """`gap` [L]: days from a purchase to the next, infinite where there was none."""
    bought = np.maximum(np.bincount(item, minlength=items), 1)
    soon = np.bincount(item[gap <= SOON_DAYS], minlength=items)
    known = np.isfinite(gap)
    gaps = np.split(gap[known][np.argsort(item[known], kind="stable")], _bounds(item[known], items))
    median = [float(np.median(each)) if len(each) else 0.0 for each in gaps]
    return Facts(np.round(median, DECIMALS), np.round(soon / bought, DECIMALS))


def _bounds(item: NDArray[np.int64], items: int) -> NDArray[np.int64]:
    return np.cumsum(np.bincount(item, minlength=items))[:-1]


def write(facts: Facts, keys: list[str], file: Path) -> None:
    """As `endcap features load product-facts` takes it."""
    table = pa.table({"product_id": keys, **{name: getattr(facts, name) for name in NAMES}})
    pq.write_table(table, file, compression="zstd")
