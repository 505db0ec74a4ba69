# SPDX-License-Identifier: Apache-2.0
"""How a view lies in its store: which layout, how many bytes an entity at most, how exact its windows."""

from __future__ import annotations

from typing import Literal

from endcap_api.v1alpha1.base import milliseconds
from endcap_api.v1alpha1.featureview import FeatureViewSpec

LayoutKind = Literal["events", "tiles", "row"]
# One GET of a state must stay a matter of microseconds, and a request reads hundreds of them.
MAX_BYTES = 65536
DEFAULT_TILES = 60


def layout_kind(view: FeatureViewSpec) -> LayoutKind:
    return view.source.stream.storage if view.source.stream else "row"


def tile_ms(view: FeatureViewSpec, window: str) -> int:
    """The tile of a window of a view with storage tiles: as declared, or a sixtieth of the window."""
    declared = (view.source.stream.tiles or {}) if view.source.stream else {}
    if window in declared:
        return milliseconds(declared[window])
    return milliseconds(window) // DEFAULT_TILES


def windows_of(view: FeatureViewSpec) -> list[str]:
    """The windows that the features of a view use, as they are written, shortest first."""
    return sorted({window for feature in view.features for window in feature.windows or ()}, key=milliseconds)


def window_errors(view: FeatureViewSpec) -> dict[str, str]:
    """How much further than asked each window may reach back: a tile, or `0s` where every event is kept."""
    tiled = layout_kind(view) == "tiles"
    return {window: span_of(tile_ms(view, window)) if tiled else "0s" for window in windows_of(view)}


def span_of(ms: int) -> str:
    """Whole seconds in the largest unit that holds them without a rest: 3600000 is `1h`, 90000 is `90s`."""
    seconds = ms // 1000
    for unit, size in (("h", 3600), ("m", 60)):
        if seconds and seconds % size == 0:
            return f"{seconds // size}{unit}"
    return f"{seconds}s"
