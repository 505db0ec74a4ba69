# SPDX-License-Identifier: Apache-2.0
"""The windows of a FeatureView, counted from history: what training reads.

The definition is the YAML that the store is given, so a feature means the same offline and online: the events with
from < t <= T count, where from = T - W, or with tiles of h those with h * floor((T - W) / h) <= t <= T.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from endcap_api.feature_size import layout_kind, tile_ms
from endcap_api.v1alpha1.base import milliseconds
from endcap_api.v1alpha1.featureview import Feature, FeatureViewSpec

Integers = NDArray[np.int64]


@dataclass(frozen=True)
class Events:
    """Events of one type: `time_ms` [L], and their data as whole numbers, [L] each.

    A text is its code, a number a multiple of 10^-decimals.
    """

    time_ms: Integers
    data: Mapping[str, Integers]


@dataclass(frozen=True)
class Windows:
    """One view over one history; entities are known by the codes of their keys."""

    view: FeatureViewSpec
    events: Events
    _code: Integers = field(init=False)
    _order: Integers = field(init=False)

    def __post_init__(self) -> None:
        code = self._joined({key: self.events.data[key] for key in self._keys}, self.events.time_ms)
        order = np.argsort(code, kind="stable")
        object.__setattr__(self, "_order", order)
        object.__setattr__(self, "_code", code[order])

    def columns(self, keys: Mapping[str, Integers], at_ms: Integers) -> dict[str, NDArray[np.float64]]:
        """The numeric columns of the view for N entities, each at its own moment [N]."""
        return {
            f"{feature.name}_{window}": self._column(feature, *self._range(window, keys, at_ms))
            for feature in self.view.features
            if feature.type != "array"
            for window in feature.windows or ()
        }

    @property
    def _keys(self) -> list[str]:
        return [key.name for key in self.view.entity.keys]

    def _joined(self, keys: Mapping[str, Integers], time_ms: Integers) -> Integers:
        """Entity and time as one number that sorts by entity, then by time."""
        code = np.zeros(len(time_ms), dtype=np.int64)
        for name in self._keys:
            code = code * (self.events.data[name].max() + 1) + keys[name]
        span = np.ptp(self.events.time_ms) + 1
        return code * (span + 1) + np.clip(time_ms - self.events.time_ms.min() + 1, 0, span)

    def _range(self, window: str, keys: Mapping[str, Integers], at_ms: Integers) -> tuple[Integers, Integers]:
        """First and behind the last of the sorted events that each window holds, [N] each."""
        after = at_ms - milliseconds(window)
        if layout_kind(self.view) == "tiles":
            tile = tile_ms(self.view, window)
            after = after // tile * tile - 1
        low = np.searchsorted(self._code, self._joined(keys, after), "right")
        return low, np.searchsorted(self._code, self._joined(keys, at_ms), "right")

    def _column(self, feature: Feature, low: Integers, high: Integers) -> NDArray[np.float64]:
        if feature.aggregation == "count":
            return (high - low).astype(np.float64)
        values = self.events.data[feature.field or ""][self._order]
        if feature.aggregation == "sum":
            total = np.r_[0, np.cumsum(values)]
            decimals = 2 if feature.decimals is None else feature.decimals
            return (total[high] - total[low]) / 10.0**decimals
        if feature.aggregation == "distinct":
            return np.asarray(
                [len(np.unique(values[a:b])) for a, b in zip(low, high, strict=True)], dtype=np.float64
            )
        raise ValueError(f"{feature.name}: {feature.aggregation} is not counted offline")
