# SPDX-License-Identifier: Apache-2.0
"""Recall by habit: what this household buys most often, as a share of its own baskets.

`recent` is the same share with the weight of a basket halved every ten weeks: habits change.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

TOP = 100
OUTPUTS = ("item", "score", "times", "of", "recent")

Columns = dict[str, Any]
Tables = Mapping[str, NDArray[Any]]


class BuyItAgain:
    """Looks a household's habits up.

    Tables: `keys` [I], the item keys; `households` [H], their ids; `seen` [H], how many baskets of each were seen;
    `start` [H + 1], where the lines of each begin in `item`, `times` and `recent` [L], which are most bought first.
    """

    def __init__(self, tables: Tables) -> None:
        self._keys = tables["keys"].astype(object)
        self._row_of = {household: row for row, household in enumerate(tables["households"].tolist())}
        self._tables = tables

    def predict(self, columns: Columns) -> Columns:
        """Take `customer`, N ids; give N lists of each output, most bought first."""
        answers = [self._habits(customer) for customer in columns["customer"]]
        return {name: [answer[name] for answer in answers] for name in OUTPUTS}

    def _habits(self, customer: str) -> Columns:
        row = self._row_of.get(customer)
        if row is None:
            return {name: [] for name in OUTPUTS}
        table = self._tables
        start, stop = table["start"][row : row + 2]
        lines = slice(start, min(stop, start + TOP))
        times, seen = table["times"][lines], int(table["seen"][row])
        return {
            "item": self._keys[table["item"][lines]].tolist(),
            "score": (times / seen).tolist(),
            "times": times.tolist(),
            "of": [seen] * len(times),
            "recent": table["recent"][lines].tolist(),
        }


def load(directory: Path) -> Callable[[Columns], Columns]:
    """Read the archive's tables; the entry point of the model."""
    return BuyItAgain(
        {file.stem: np.load(file, allow_pickle=False) for file in directory.glob("*.npy")}
    ).predict
