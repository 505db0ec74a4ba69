# SPDX-License-Identifier: Apache-2.0
"""What live features are worth: the same carts, ranked with them, without them, and with a store that knows nothing."""

import lightgbm
from basket import evaluate
from basket import ranker as basket
from basket.evaluate import Quality
from basket.ranker import Candidates, Hidden

from live import ranker

WITHOUT, WITH, EMPTY = "without", "with live features", "with an empty store"
GOALS = ((WITH, WITHOUT, 0.01),)


def measure(plain: lightgbm.Booster, live: lightgbm.Booster, found: Candidates, hidden: Hidden) -> Quality:
    """Compare the ranker of examples/01-basket with this one on carts that neither has seen."""
    scores = {
        WITHOUT: basket.score(plain, found),
        WITH: ranker.score(live, found),
        EMPTY: ranker.score(live, ranker.nothing_known(found)),
    }
    placed = {name: evaluate.places(found, hidden, score) for name, score in scores.items()}
    return evaluate.compare(placed, hidden, GOALS)
