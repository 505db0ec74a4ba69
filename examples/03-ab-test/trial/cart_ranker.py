# SPDX-License-Identifier: Apache-2.0
"""The ranker of examples/01-basket without what it knows of the household: the one that is to be beaten."""

from typing import Any

import lightgbm
import numpy as np
from basket import ranker as basket
from basket.ranker import Candidates, Hidden
from numpy.typing import NDArray

FEATURES = (*basket.TOGETHER, "popularity", "cart_size")
PARAMETERS: dict[str, Any] = {
    **basket.PARAMETERS,
    "monotone_constraints": [1] * len(basket.TOGETHER) + [0, 0],
}


def train(found: Candidates, hidden: Hidden) -> lightgbm.Booster:
    """As in examples/01-basket, on fewer features."""
    return basket.train(found, hidden, FEATURES, PARAMETERS)


def score(model: lightgbm.Booster, found: Candidates) -> NDArray[np.float64]:
    """[R], higher is better."""
    return basket.score(model, found, FEATURES)
