# SPDX-License-Identifier: Apache-2.0
"""Recall by popularity: what most baskets of a store hold; of the whole chain for a store it does not know."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

TOP = 100

Columns = dict[str, Any]
Tables = Mapping[str, NDArray[Any]]


class Popularity:
    """Keeps one list of best sellers a store.

    Tables: `keys` [I], the item keys; `stores` [S], the store ids; `share` [S + 1, I], the share of a store's baskets
    that hold an item, its last row for the whole chain.
    """

    def __init__(self, tables: Tables) -> None:
        names, share = tables["keys"].astype(object), tables["share"]
        best = np.argsort(-share, axis=1, kind="stable")[:, :TOP]
        self._item = [names[row].tolist() for row in best]
        self._score = np.take_along_axis(share, best, axis=1).tolist()
        self._row_of = {store: row for row, store in enumerate(tables["stores"].tolist())}

    def predict(self, columns: Columns) -> Columns:
        """Take `store`, N ids; give N lists each of item and score (0..1), best first."""
        rows = [self._row_of.get(store, len(self._row_of)) for store in columns["store"]]
        return {"item": [self._item[row] for row in rows], "score": [self._score[row] for row in rows]}


def load(directory: Path) -> Callable[[Columns], Columns]:
    """Read the archive's tables; the entry point of the model."""
    return Popularity(
        {file.stem: np.load(file, allow_pickle=False) for file in directory.glob("*.npy")}
    ).predict
