# SPDX-License-Identifier: Apache-2.0
"""Recall by what is bought together: the cosine between items over baskets, summed over the cart.

The sum finds candidates well; its best pair explains them, and two other views of the same counts help to rank them:
the highest lift (how many times as often as chance) and the mean confidence (which share of the baskets with an item
of the cart holds the candidate).
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

TOP = 200
# A pair seen in fewer baskets than this is chance, and "in 2 baskets" convinces nobody.
MIN_BASKETS = 5

OUTPUTS = ("item", "score", "because", "baskets", "lift", "confidence")

Columns = dict[str, Any]
Tables = Mapping[str, NDArray[Any]]
Matrix = NDArray[np.float32]


class ItemCooccurrence:
    """Scores every item against a cart.

    Tables: `keys` [I], the item keys; `baskets` [I, I], how many baskets hold both items, on the diagonal an item's
    own; `total` [], how many baskets there are.
    """

    def __init__(self, tables: Tables) -> None:
        self._keys = tables["keys"].astype(object)
        self._row_of = {key: row for row, key in enumerate(self._keys)}
        self._baskets = tables["baskets"]
        self._cosine, self._lift, self._confidence = _views(self._baskets, int(tables["total"]))

    def predict(self, columns: Columns) -> Columns:
        """Take `cart`, N lists of keys; give N lists of each output, best first."""
        answers = [self._complete(cart) for cart in columns["cart"]]
        return {name: [answer[name] for answer in answers] for name in OUTPUTS}

    def _complete(self, cart: Sequence[str]) -> Columns:
        # Sorted and distinct, so that neither the order of the cart nor a doubled line changes the answer.
        rows = sorted({self._row_of[key] for key in cart if key in self._row_of})
        if not rows:
            return {name: [] for name in OUTPUTS}
        cosine = self._cosine[rows]
        score = cosine.sum(axis=0)
        score[rows] = 0.0
        best = np.argsort(-score, kind="stable")[:TOP]
        best = best[score[best] > 0.0]
        because = np.asarray(rows)[cosine[:, best].argmax(axis=0)]
        return {
            "item": self._keys[best].tolist(),
            "score": score[best].tolist(),
            "because": self._keys[because].tolist(),
            "baskets": self._baskets[because, best].tolist(),
            "lift": self._lift[rows][:, best].max(axis=0).tolist(),
            "confidence": self._confidence[rows][:, best].mean(axis=0).tolist(),
        }


def _views(baskets: NDArray[np.int32], total: int) -> tuple[Matrix, Matrix, Matrix]:
    """Cosine, lift and confidence of every pair, [I, I] each; row: the item in the cart, column: the candidate."""
    own = np.maximum(baskets.diagonal(), 1).astype(np.float64)
    together = np.where(baskets >= MIN_BASKETS, baskets, 0).astype(np.float64)
    np.fill_diagonal(together, 0.0)
    cosine = together / np.sqrt(own[:, None] * own[None, :])
    lift = together * total / (own[:, None] * own[None, :])
    return cosine.astype(np.float32), lift.astype(np.float32), (together / own[:, None]).astype(np.float32)


def load(directory: Path) -> Callable[[Columns], Columns]:
    """Read the archive's tables; the entry point of the model."""
    return ItemCooccurrence(
        {file.stem: np.load(file, allow_pickle=False) for file in directory.glob("*.npy")}
    ).predict
