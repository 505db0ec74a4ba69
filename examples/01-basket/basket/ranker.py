# SPDX-License-Identifier: Apache-2.0
"""The ranker: a lambdarank over the candidates that the served recall code gives."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import lightgbm
import numpy as np
from numpy.typing import NDArray

from basket.journey import Baskets
from basket.recall import Recall

# Each feature that a recall model gives, and which of its outputs it is.
TOGETHER = {"cosine": "score", "lift": "lift", "confidence": "confidence"}
AGAIN = {"household_share": "score", "recent_share": "recent", "times": "times"}
FEATURES = (*TOGETHER, *AGAIN, "popularity", "cart_size")
PARAMETERS: dict[str, Any] = {
    "objective": "lambdarank",
    "lambdarank_truncation_level": 20,
    "learning_rate": 0.1,
    "num_leaves": 15,
    "min_data_in_leaf": 400,
    # More evidence never lowers a candidate: what a person expects of the reason beside it.
    "monotone_constraints": [1] * (len(TOGETHER) + len(AGAIN)) + [0, 0],
    "seed": 7,
    "num_threads": 1,
    "deterministic": True,
    "force_row_wise": True,
    "verbosity": -1,
}
ROUNDS = 100


@dataclass(frozen=True)
class Hidden:
    """Q carts, each with one item hidden: what a shopper had and what came next to it; `row` is the basket's."""

    row: NDArray[np.int64]
    household: NDArray[np.int32]
    store: NDArray[np.int32]
    cart: list[NDArray[np.int32]]
    item: NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.item)


def hide_one(baskets: Baskets, count: int, seed: int, smallest: int = 4) -> Hidden:
    """Draw `count` baskets of at least `smallest` items, and from each, evenly, the item to hide."""
    random = np.random.default_rng(seed)
    large = np.flatnonzero(np.diff(baskets.start) >= smallest)
    drawn = np.sort(random.permutation(large)[:count])
    whole = [baskets.item[baskets.start[row] : baskets.start[row + 1]] for row in drawn]
    place = random.integers([len(items) for items in whole])
    cart = [np.delete(items, at) for items, at in zip(whole, place, strict=True)]
    item = np.asarray([items[at] for items, at in zip(whole, place, strict=True)])
    return Hidden(drawn, baskets.household[drawn], baskets.store[drawn], cart, item)


@dataclass(frozen=True)
class Candidates:
    """R candidates of all carts, cart after cart: `size` says how many each cart has, [Q]."""

    size: NDArray[np.int64]
    item: NDArray[np.int32]
    features: dict[str, NDArray[np.float64]]

    def matrix(self, names: Sequence[str] = FEATURES) -> NDArray[np.float64]:
        """[R, K] in the order of the names, as the model is asked."""
        return np.column_stack([self.features[name] for name in names])


def candidates(recall: Recall, hidden: Hidden) -> Candidates:
    """Ask the served recall models, as the graph does, and put their answers side by side."""
    keys = np.asarray(recall.keys, dtype=object)
    row_of = {key: row for row, key in enumerate(recall.keys)}
    together = recall.cooccurrence.predict({"cart": [keys[cart].tolist() for cart in hidden.cart]})
    again = recall.buy_it_again.predict({"customer": hidden.household.astype(str)})
    found = [_merge(row_of, together, again, row, cart) for row, cart in enumerate(hidden.cart)]
    size = np.asarray([len(one["item"]) for one in found])
    columns = {name: np.concatenate([one[name] for one in found]) for name in found[0]}
    item = columns.pop("item").astype(np.int32)
    columns["popularity"] = recall.share[item]
    columns["cart_size"] = np.repeat([float(len(cart)) for cart in hidden.cart], size)
    return Candidates(size, item, columns)


def _merge(
    row_of: dict[str, int], together: Any, again: Any, row: int, cart: NDArray[np.int32]
) -> dict[str, NDArray[np.float64]]:
    sources = ((together, TOGETHER), (again, AGAIN))
    named = [
        np.asarray([row_of[key] for key in source["item"][row]], dtype=np.int64) for source, _ in sources
    ]
    items = np.setdiff1d(np.union1d(*named), cart)
    merged = {"item": items.astype(np.float64)}
    for (source, features), rows in zip(sources, named, strict=True):
        for feature, output in features.items():
            whole = np.zeros(len(row_of))  # as in the graph, where a source did not name the candidate
            whole[rows] = source[output][row]
            merged[feature] = whole[items]
    return merged


def train(
    found: Candidates,
    hidden: Hidden,
    names: Sequence[str] = FEATURES,
    parameters: Mapping[str, Any] = MappingProxyType(PARAMETERS),
) -> lightgbm.Booster:
    """Learn to put the hidden item first; carts whose hidden item no source named teach nothing and are left out."""
    label = (found.item == np.repeat(hidden.item, found.size)).astype(np.int32)
    cart = np.repeat(np.arange(len(found.size)), found.size)
    useful = np.isin(np.arange(len(found.size)), cart[label == 1])
    rows = useful[cart]
    data = lightgbm.Dataset(
        found.matrix(names)[rows],
        label[rows],
        group=found.size[useful],
        feature_name=list(names),
        free_raw_data=True,
    )
    return lightgbm.train(dict(parameters), data, num_boost_round=ROUNDS)


def score(model: lightgbm.Booster, found: Candidates, names: Sequence[str] = FEATURES) -> NDArray[np.float64]:
    """[R], higher is better."""
    scores: NDArray[np.float64] = np.asarray(model.predict(found.matrix(names), num_threads=1))
    return scores
