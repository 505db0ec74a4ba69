# SPDX-License-Identifier: Apache-2.0
"""Every purchase of the data with its moment and its price, line by line beside the baskets of `basket.journey`.

The data have one moment a basket and no order within it, so all items of a basket are bought at once.
"""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from basket import journey
from basket.journey import Journey
from numpy.typing import NDArray

Integers = NDArray[np.int64]


@dataclass(frozen=True)
class History:
    """B baskets in the order of `journey.baskets`, and their L lines in the order of its items.

    `basket_id` and `at_ms` are [B]; `basket` (a row of baskets), `household`, `item` and `cents` are [L].
    """

    journey: Journey
    basket_id: Integers
    at_ms: Integers
    basket: Integers
    household: Integers
    item: Integers
    cents: Integers

    @property
    def time_ms(self) -> Integers:
        """When each line was bought, [L]."""
        moments: Integers = self.at_ms[self.basket]
        return moments

    def lines_of(self, baskets: Integers) -> Integers:
        """The lines [..] of these rows of baskets, in order."""
        return np.flatnonzero(np.isin(self.basket, baskets))


def read() -> History:
    """The journey with the moments and prices that it leaves out."""
    data = journey.read()
    item, sales = _sales(data)
    order = np.lexsort((item, sales["basket_id"], sales["week"]))
    item, sales = item[order], {name: values[order] for name, values in sales.items()}
    first = np.flatnonzero(_changes(sales["basket_id"]) | _changes(item))
    cents = np.add.reduceat(sales["cents"], first)
    basket_id = sales["basket_id"][first]
    opening = _changes(basket_id)
    return History(
        data,
        basket_id[opening],
        sales["ms"][first][opening],
        np.cumsum(opening) - 1,
        sales["household_id"][first],
        item[first].astype(np.int64),
        cents,
    )


def _sales(data: Journey) -> tuple[Integers, dict[str, Integers]]:
    """The item and the columns of each row of the package that sells an item of the journey."""
    columns = ["basket_id", "household_id", "product_id", "sales_value", "week", "transaction_timestamp"]
    table = pq.read_table(journey.folder() / "transactions.parquet", columns=columns)
    item = _item_of(data, np.asarray(table["product_id"]))
    known = item >= 0
    found = {name: np.asarray(table[name])[known] for name in ("basket_id", "household_id", "week")}
    found["cents"] = np.rint(np.asarray(table["sales_value"])[known] * 100).astype(np.int64)
    found["ms"] = np.asarray(table["transaction_timestamp"])[known].astype("datetime64[ms]").astype(np.int64)
    return item[known], found


def _item_of(data: Journey, product: Integers) -> Integers:
    """The item that each product is, -1 where it is none."""
    products = journey.shelf()
    ids, place = np.asarray(products["product_id"]), pa.array(data.items.product_type)
    rows = pc.fill_null(pc.index_in(products["product_type"], place), -1)
    order = np.argsort(ids)
    at = np.minimum(np.searchsorted(ids[order], product), len(ids) - 1)
    found: Integers = np.where(ids[order][at] == product, np.asarray(rows)[order][at], -1)
    return found


def _changes(values: Integers) -> NDArray[np.bool_]:
    return np.r_[True, values[1:] != values[:-1]]
