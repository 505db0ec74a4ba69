# SPDX-License-Identifier: Apache-2.0
"""How a view lies in its store: which layout, how many bytes an entity at most, how exact its windows.

Said at admission, so that a view that is too large is refused before anything is written. The packing itself is
`endcap_runtime.features.layout`; a test holds the two equal.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

from endcap_api.v1alpha1.base import milliseconds
from endcap_api.v1alpha1.featureview import (
    DECIMALS,
    DEFAULT_TILES,
    MAX_EVENTS,
    MAX_ITEMS,
    MAX_LENGTH,
    Feature,
    FeatureViewSpec,
    Stream,
)

LayoutKind = Literal["events", "tiles", "row"]
# One GET of a state must stay a matter of microseconds, and a request reads hundreds of them.
MAX_BYTES = 65536
HEADER = 24
_SCALARS = {"integer": 8, "number": 8, "boolean": 1}
# What a tile keeps for an aggregation: counts of 4 bytes, numbers of 8.
_KEPT = {
    "count": ("count",),
    "sum": ("sum",),
    "mean": ("sum", "count"),
    "min": ("min",),
    "max": ("max",),
    "last": ("time", "value"),
}


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


def bytes_per_entity(view: FeatureViewSpec) -> int:
    """The most bytes that one entity of a sound view takes, without its key."""
    stream = view.source.stream
    if stream is None:
        return HEADER + 8 + sum(map(_cell_bytes, view.features))
    if stream.storage == "events":
        return HEADER + events_kept(stream) * event_bytes(view)
    windows = windows_of(view)
    # Beside the header stands for each window which tile is its newest; everything begins at a multiple of 8.
    return _aligned(HEADER + 4 * len(windows)) + sum(_ring_bytes(view, window) for window in windows)


def _aligned(size: int) -> int:
    return -(-size // 8) * 8


def events_kept(stream: Stream) -> int:
    return stream.max_events or MAX_EVENTS


def _cell_bytes(feature: Feature) -> int:
    """Of a row; an array has its length of two bytes before it."""
    if feature.items is not None:
        return 2 + (feature.max_items or MAX_ITEMS) * _scalar_bytes(feature, feature.items.type)
    return _scalar_bytes(feature, feature.type)


def _scalar_bytes(feature: Feature, kind: str) -> int:
    return _SCALARS.get(kind, feature.max_length or MAX_LENGTH)


class _Read(NamedTuple):
    """A field of events as it is kept; features that read it alike share it. `size`: decimals, or bytes of a text."""

    field: str
    kind: str
    size: int


def event_bytes(view: FeatureViewSpec) -> int:
    """One event in a log: its time, a bit for each kind of event that is told apart, its fields."""
    reads = {read for read in map(_read, view.features) if read is not None}
    texts = [read.size for read in reads if read.kind == "string"]
    return (
        8
        + _bit_bytes(len({_predicate(f) for f in view.features}))
        + 8 * (len(reads) - len(texts))
        + sum(texts)
    )


def _bit_bytes(bits: int) -> int:
    return next(size for size in (1, 2, 4, 8) if 8 * size >= bits)


def _predicate(feature: Feature) -> tuple[object, ...]:
    return (feature.event, *sorted((feature.where or {}).items()))


def _read(feature: Feature) -> _Read | None:
    if feature.field is None:
        return None
    if feature.aggregation == "distinct":
        return _Read(feature.field, "hash", 0)
    kind = feature.items.type if feature.items else feature.type
    sizes = {"string": feature.max_length or MAX_LENGTH, "number": _decimals(feature)}
    return _Read(feature.field, kind, sizes.get(kind, 0))


def _decimals(feature: Feature) -> int:
    return DECIMALS if feature.decimals is None else feature.decimals


def _ring_bytes(view: FeatureViewSpec, window: str) -> int:
    """Of a window: its tiles and two more, each with what it keeps; an odd count is filled up unless it is alone."""
    kept = {each for f in view.features if window in (f.windows or ()) for each in _kept(f)}
    counts = sum(1 for op, *_ in kept if op == "count")
    numbers = len(kept) - counts
    filled = counts + (counts % 2 if len(kept) > 1 else 0)
    return _aligned((milliseconds(window) // tile_ms(view, window) + 2) * (8 * numbers + 4 * filled))


def _kept(feature: Feature) -> list[tuple[object, ...]]:
    read, predicate = _read(feature), _predicate(feature)
    return [(op, predicate, None if op == "count" else read) for op in _KEPT[str(feature.aggregation)]]
