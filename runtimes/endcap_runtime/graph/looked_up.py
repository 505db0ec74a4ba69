# SPDX-License-Identifier: Apache-2.0
"""What a features step has for a request or its candidates, and what each value is worth.

It is kept by rows of the catalogue beside the candidates, not among their columns: what a value is worth is read for
the few products of the answer alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from endcap_api.feature_columns import FeatureColumn
from endcap_runtime.features.statuses import Status
from endcap_runtime.graph.columns import objects
from endcap_runtime.graph.sidecar import Found, Keys

Values = NDArray[Any]
Window = tuple[int, int]
_DTYPES: Mapping[str, Any] = {
    "number": np.float64,
    "integer": np.int64,
    "boolean": np.bool_,
    "string": np.object_,
}


@dataclass(frozen=True, slots=True)
class LookedUp:
    """Of entities [size].

    keys: a list [size] for each key of the entity; none where it could not be said. rows: of the catalogue, int32
    [size]; None where it is of the request and size is 1. found: of the entities that were asked for; `asked` [size]
    says which where it was not all, and found is None where it was none. lacking: what all other defaults are worth.
    """

    size: int
    keys: Keys
    rows: NDArray[np.int32] | None
    found: Found | None
    asked: NDArray[np.bool_] | None
    lacking: Status

    def values(self, column: FeatureColumn) -> Values:
        """float64, int64, bool, or object of str or lists [size]. Raises ValueError for what cannot be decoded."""
        if self.found is None:
            return defaults(column, self.size)
        values = self.found.values(column)
        return values if self.asked is None else _spread(defaults(column, self.size), self.asked, values)

    def statuses(self, column: FeatureColumn) -> NDArray[np.uint8]:
        """The Status [size] of each value."""
        if self.found is not None and self.asked is None:
            return self.found.status(column.name)
        lacking = np.full(self.size, self.lacking, dtype=np.uint8)
        if self.found is None or self.asked is None:
            return lacking
        return _spread(lacking, self.asked, self.found.status(column.name))

    def window(self, column: FeatureColumn) -> Window | None:
        """The effective window in ms."""
        return None if self.found is None else self.found.window(column.name)

    def places(self) -> dict[int, int]:
        """The place of each row of the catalogue."""
        return {} if self.rows is None else {row: place for place, row in enumerate(self.rows.tolist())}


def defaults(column: FeatureColumn, size: int) -> Values:
    """The declared default [size]."""
    if column.items is not None:
        return objects([column.default] * size)
    return np.full(size, column.default, dtype=_DTYPES[column.type])


def _spread(whole: Values, places: NDArray[np.bool_], values: Values) -> Values:
    whole[places] = values
    return whole
