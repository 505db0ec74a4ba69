# SPDX-License-Identifier: Apache-2.0
"""The ranker of examples/01-basket, taught what the feature store knows at the moment of the request."""

from dataclasses import replace
from typing import Any

import lightgbm
import numpy as np
from basket import ranker as basket
from basket.ranker import Candidates, Hidden
from numpy.typing import NDArray

from live.facts import Facts
from live.history import History
from live.resources import view
from live.windows import Events, Windows

# Each live feature by the step of the graph that looks it up.
HOUSEHOLD = ("items_24h", "spend_168h", "trips_672h")
HABIT = ("bought_24h", "bought_168h", "bought_672h")
PRODUCT = ("purchases_1h", "purchases_24h")
FACTS = ("repeat_days", "repeat_share")
LIVE = (*HABIT, *PRODUCT, *FACTS, *HOUSEHOLD)
FEATURES = (*basket.FEATURES, *LIVE)
PARAMETERS: dict[str, Any] = {
    **basket.PARAMETERS,
    # Bought yesterday may mean more or less of it, so nothing is said of the live features.
    "monotone_constraints": basket.PARAMETERS["monotone_constraints"] + [0] * len(LIVE),
}
# A cart is ranked before it is paid, so its own purchases are not known yet.
BEFORE_MS = 1


class LiveFeatures:
    """The columns of the three stream views, at any moment of the history."""

    def __init__(self, history: History) -> None:
        data = {
            "household_id": history.household,
            "product_id": history.item,
            "basket_id": history.basket,
            "amount": history.cents,
        }
        events = Events(history.time_ms, data)
        self._household = Windows(view("household-activity"), events)
        self._habit = Windows(view("household-product"), events)
        self._product = Windows(view("product-activity"), events)

    def of(
        self, household: NDArray[np.int64], at_ms: NDArray[np.int64], found: Candidates
    ) -> dict[str, NDArray[np.float64]]:
        """Of each candidate [R] of the carts [Q] of these households at these moments."""
        cart = np.repeat(np.arange(len(found.size)), found.size)
        item = found.item.astype(np.int64)
        who = {"household_id": household}
        whose = {"household_id": household[cart], "product_id": item}
        columns = {name: values[cart] for name, values in self._household.columns(who, at_ms).items()}
        columns |= self._habit.columns(whose, at_ms[cart])
        columns |= self._product.columns({"product_id": item}, at_ms[cart])
        return {name: columns[name] for name in (*HABIT, *PRODUCT, *HOUSEHOLD)}


def enriched(
    found: Candidates, hidden: Hidden, at_ms: NDArray[np.int64], live: LiveFeatures, facts: Facts
) -> Candidates:
    """The candidates with the live features of the moment at which each cart [Q] was filled."""
    columns = live.of(hidden.household.astype(np.int64), at_ms - BEFORE_MS, found)
    known = {name: getattr(facts, name)[found.item] for name in FACTS}
    return replace(found, features={**found.features, **columns, **known})


def nothing_known(found: Candidates) -> Candidates:
    """The same candidates when the store has never seen an event: what a ranker sees whose features all defaulted."""
    streams = {name: np.zeros(len(found.item)) for name in (*HABIT, *PRODUCT, *HOUSEHOLD)}
    return replace(found, features={**found.features, **streams})


def train(found: Candidates, hidden: Hidden) -> lightgbm.Booster:
    """As in examples/01-basket, on all features."""
    return basket.train(found, hidden, FEATURES, PARAMETERS)


def score(model: lightgbm.Booster, found: Candidates) -> NDArray[np.float64]:
    """[R], higher is better."""
    return basket.score(model, found, FEATURES)
