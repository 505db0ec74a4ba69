# SPDX-License-Identifier: Apache-2.0
"""What a lookup found: columns, statuses and effective windows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from endcap_api.feature_columns import FeatureColumn

Window = tuple[int, int] | None


@dataclass(frozen=True, slots=True)
class Read:
    """States of one view by entity, and how they came.

    `unread` [N] marks those for which the store could not be asked (None: it was asked for all); `age_ms` is that of
    the oldest state; `now_ms` is the store's clock, and `late` says that it is behind its events.
    """

    states: Sequence[bytes | None]
    unread: NDArray[np.bool_] | None = None
    age_ms: int = 0
    now_ms: int = 0
    late: bool = False


@dataclass(frozen=True, slots=True)
class Found:
    """One bundle for N entities.

    values: [N] a column, in the bundle's order; statuses: [columns, N]; windows: from and to in ms of Redis' clock;
    freshness_ms: age of the oldest state that was used; kept_from: by column and row, in ms, where a TRUNCATED window
    really begins; late: all was read, and a store is further behind its events than it may be.
    """

    bundle: str
    digest: str
    columns: tuple[FeatureColumn, ...]
    values: list[NDArray[Any]]
    statuses: NDArray[np.uint8]
    windows: list[Window]
    freshness_ms: int
    kept_from: Mapping[int, Mapping[int, int]]
    late: bool = False

    @property
    def rows(self) -> int:
        return len(self.statuses[0])
