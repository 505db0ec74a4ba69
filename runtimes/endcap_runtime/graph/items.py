# SPDX-License-Identifier: Apache-2.0
"""Names and keys of all items as plain lists: at the edges of the engine a few rows are looked up one by one."""

from __future__ import annotations

from typing import NamedTuple, Self

import numpy as np

from endcap_runtime.graph.catalogue import Catalogue


class Items(NamedTuple):
    """By row of the catalogue, with "" behind them for the row -1."""

    names: list[str]
    keys: list[str]

    @classmethod
    def of(cls, catalogue: Catalogue) -> Self:
        rows = np.arange(catalogue.size, dtype=np.int32)
        return cls([*catalogue.names(rows), ""], [*catalogue.keys(rows), ""])
