# SPDX-License-Identifier: Apache-2.0
"""Fits the recall models: the tables that their archives hold, from a slice of baskets."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from basket.journey import Baskets, Items
from basket.served.buy_it_again import BuyItAgain
from basket.served.item_cooccurrence import ItemCooccurrence

HALF_LIFE_WEEKS = 10.0
# As if each household had come this often more without buying anything: one basket proves no habit.
PRIOR_BASKETS = 0.3
# A small store borrows this many baskets from the whole chain.
CHAIN_BASKETS = 50.0

Tables = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class Recall:
    """The three recall models of one slice of time, as tables and as the served code over them."""

    keys: list[str]
    together: Tables
    again: Tables
    popular: Tables

    @cached_property
    def cooccurrence(self) -> ItemCooccurrence:
        return ItemCooccurrence(self.together)

    @cached_property
    def buy_it_again(self) -> BuyItAgain:
        return BuyItAgain(self.again)

    @property
    def share(self) -> NDArray[np.float64]:
        """The share of all baskets that hold an item, [I]; the catalogue's column `popularity`."""
        share: NDArray[np.float64] = self.popular["share"][-1].astype(np.float64)
        return share


def fit(items: Items, baskets: Baskets) -> Recall:
    """Count, in these baskets alone, what is bought together, by whom, and where."""
    count = len(items.key)
    holds = csr_array(
        (np.ones(len(baskets.item), dtype=np.int32), baskets.item, baskets.start), shape=(len(baskets), count)
    )
    keys = {"keys": np.asarray(items.key)}
    return Recall(
        items.key,
        keys | {"baskets": (holds.T @ holds).toarray().astype(np.int32), "total": np.asarray(len(baskets))},
        keys | _again(holds, baskets),
        keys | _popular(holds, baskets.store),
    )


def _again(holds: Any, baskets: Baskets) -> Tables:
    member, names = _member(baskets.household)
    seen, bought = member.sum(axis=1), (member @ holds).tocsr()
    bought.sort_indices()
    weight = 0.5 ** ((baskets.week.max() - baskets.week) / HALF_LIFE_WEEKS)
    recent = (member @ csr_array(holds.multiply(weight[:, None]))).tocsr()
    recent.sort_indices()
    household = np.repeat(np.arange(len(names)), np.diff(bought.indptr))
    share = recent.data / (member @ weight + PRIOR_BASKETS)[household]
    # Most bought first; the order of the items settles a draw.
    order = np.lexsort((bought.indices, -bought.data, household))
    return {
        "households": names,
        "seen": seen.astype(np.int32),
        "start": bought.indptr.astype(np.int64),
        "item": bought.indices[order].astype(np.int32),
        "times": bought.data[order].astype(np.int32),
        "recent": share[order].astype(np.float32),
    }


def _popular(holds: Any, store: NDArray[np.int32]) -> Tables:
    member, names = _member(store)
    chain = holds.sum(axis=0) / holds.shape[0]
    sold = (member @ holds).toarray() + CHAIN_BASKETS * chain
    shares = np.vstack([sold / (member.sum(axis=1)[:, None] + CHAIN_BASKETS), chain])
    return {"stores": names, "share": shares.astype(np.float32)}


def _member(group: NDArray[np.int32]) -> tuple[Any, NDArray[Any]]:
    """Sparse [G, B], 1 where a basket is of a group, and the groups' names [G]."""
    names, row = np.unique(group, return_inverse=True)
    ones = np.ones(len(row), dtype=np.int32)
    return csr_array((ones, (row, np.arange(len(row)))), shape=(len(names), len(row))), names.astype(str)
