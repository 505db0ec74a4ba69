# SPDX-License-Identifier: Apache-2.0
"""How much each household bought before the experiment: the covariate, as rows of a precomputed view."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from basket.journey import Baskets
from numpy.typing import NDArray


@dataclass(frozen=True)
class Past:
    """H households, ascending, and the products that each bought, each once a basket."""

    household: NDArray[np.int32]
    products: NDArray[np.float64]

    def of(self, household: NDArray[np.int32]) -> NDArray[np.float64]:
        """Of these households [N]; 0 for one that is not known, as the view's default says."""
        at = np.minimum(np.searchsorted(self.household, household), len(self.household) - 1)
        known: NDArray[np.float64] = np.where(self.household[at] == household, self.products[at], 0.0)
        return known


def count(baskets: Baskets) -> Past:
    names, place = np.unique(baskets.household, return_inverse=True)
    return Past(names, np.bincount(place, weights=np.diff(baskets.start)).astype(np.float64))


def write(past: Past, file: Path) -> None:
    """As `endcap features load household-past` takes it."""
    columns = {"household_id": [str(each) for each in past.household], "products": past.products}
    pq.write_table(pa.table(columns), file, compression="zstd")
