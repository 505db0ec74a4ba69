# SPDX-License-Identifier: Apache-2.0
"""Every item in the memory of the graph, as columns, so that a candidate needs no call to have its columns.

Strings are dictionary-encoded and lists are postings: an expression compares codes, never words.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from endcap_api.v1alpha1.inferencegraph import Catalogue as CatalogueSpec


class CatalogueInvalid(Exception):  # noqa: N818 (reads as the reason that the status shows)
    """The file is not the catalogue that the resource declares; the message names the column and the remedy."""


@dataclass(frozen=True, slots=True)
class Catalogue:
    """All items, one row each. Immutable; safe to share between requests."""

    size: int

    @classmethod
    def load(cls, path: Path, spec: CatalogueSpec) -> Catalogue:
        """Read Parquet as `spec` declares it. Raises CatalogueInvalid."""
        raise NotImplementedError

    def rows_of(self, keys: Iterable[str]) -> NDArray[np.int32]:
        """Row [n] of each key, -1 where the catalogue does not know it."""
        raise NotImplementedError

    def row_of_name(self, name: str) -> int | None:
        """Row of a display name: as it is written, else without regard to case."""
        raise NotImplementedError

    def nearest(self, name: str, limit: int = 3) -> list[str]:
        """The display names most like `name`, best first."""
        raise NotImplementedError

    def names(self, rows: NDArray[np.int32]) -> list[str]:
        """Display names [n]; "" for row -1."""
        raise NotImplementedError

    def keys(self, rows: NDArray[np.int32]) -> list[str]:
        """Keys [n] as models know them; "" for row -1."""
        raise NotImplementedError

    def values(self, column: str, rows: NDArray[np.int32]) -> NDArray[Any]:
        """A column at rows [n] as plain values: float64, int64, bool, or object of str or of lists."""
        raise NotImplementedError

    def highest(self, column: str) -> NDArray[np.int32]:
        """All rows by a number or integer column, highest first, NaN last."""
        raise NotImplementedError
