# SPDX-License-Identifier: Apache-2.0
"""Features from events by their definition alone, one event at a time.

Deliberately apart from the code that serves them, and slow where it may be: agreement of the two means something.
Pure.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Any, NamedTuple

from endcap_api.feature_columns import default_of
from endcap_api.v1alpha1.base import milliseconds
from endcap_api.v1alpha1.featureview import Feature, FeatureViewSpec, Stream

MAX_EVENTS = 256
DECIMALS = 2
TOP_ITEMS = 16
_EMPTY_IS_ZERO = ("count", "sum", "distinct")


class Happened(NamedTuple):
    """An event that counts: `time` in ms since 1970."""

    time: int
    type: str
    data: dict[str, Any]


class Window(NamedTuple):
    """Over the events with `after` < time ≤ `to`, in ms."""

    after: int
    to: int


def window_of(view: FeatureViewSpec, window: str, now: int) -> Window:
    """Of tiles, the whole tile in which the window begins belongs to it."""
    stream, length = view.source.stream or Stream(), milliseconds(window)
    if stream.storage == "events":
        return Window(now - length, now)
    tiles = {milliseconds(w): milliseconds(h) for w, h in (stream.tiles or {}).items()}
    tile = tiles.get(length, length // 60)
    return Window((now - length) // tile * tile - 1, now)


def kept(view: FeatureViewSpec, events: Iterable[Happened]) -> list[Happened]:
    """Of one entity's events those that the view reads, oldest first, as many as it keeps."""
    read = sorted((e for e in events if any(counts(f, e) for f in view.features)), key=lambda e: e.time)
    stream = view.source.stream or Stream()
    return read[-(stream.max_events or MAX_EVENTS) :] if stream.storage == "events" else read


def counts(feature: Feature, event: Happened) -> bool:
    """Whether the feature aggregates the event at all."""
    where = feature.where or {}
    return event.type == feature.event and all(event.data.get(name) == text for name, text in where.items())


def value_of(feature: Feature, window: Window, events: Sequence[Happened], *, known: bool) -> Any:
    """`known` says whether the entity was ever written: counts of one that was not are the default, not 0."""
    inside = [e for e in events if counts(feature, e) and window.after < e.time <= window.to]
    if not inside:
        return 0 if known and feature.aggregation in _EMPTY_IS_ZERO else default_of(feature)
    return _AGGREGATES[feature.aggregation or ""](feature, inside)


def _whole(feature: Feature, event: Happened) -> int:
    """The number as a multiple of what its decimals allow."""
    value = event.data[feature.field or ""]
    exact = Decimal(value) if isinstance(value, int) else Decimal(repr(value))
    return int((exact * _scale(feature)).quantize(Decimal(1), rounding=ROUND_HALF_EVEN))


def _scale(feature: Feature) -> int:
    numeric = feature.type == "number" or (feature.items is not None and feature.items.type == "number")
    return int(10 ** (DECIMALS if feature.decimals is None else feature.decimals)) if numeric else 1


def _number(feature: Feature, whole: int, divisor: int = 1) -> float | int:
    return whole / (divisor * _scale(feature)) if feature.type == "number" else whole


def _count(_: Feature, events: Sequence[Happened]) -> Any:
    return len(events)


def _sum(feature: Feature, events: Sequence[Happened]) -> Any:
    return _number(feature, sum(_whole(feature, event) for event in events))


def _mean(feature: Feature, events: Sequence[Happened]) -> Any:
    return _number(feature, sum(_whole(feature, event) for event in events), len(events))


def _min(feature: Feature, events: Sequence[Happened]) -> Any:
    return _number(feature, min(_whole(feature, event) for event in events))


def _max(feature: Feature, events: Sequence[Happened]) -> Any:
    return _number(feature, max(_whole(feature, event) for event in events))


def _last(feature: Feature, events: Sequence[Happened]) -> Any:
    """Of the newest millisecond the greatest; texts by their bytes."""
    newest = max(event.time for event in events)
    tied = [event for event in events if event.time == newest]
    if feature.type == "string":
        return max((str(event.data[feature.field or ""]) for event in tied), key=str.encode)
    if feature.type == "boolean":
        return any(event.data[feature.field or ""] for event in tied)
    return _number(feature, max(_whole(feature, event) for event in tied))


def _distinct(feature: Feature, events: Sequence[Happened]) -> Any:
    """1 and 1.0 are the same; true is neither."""
    return len({(isinstance(v, bool), v) for v in (event.data[feature.field or ""] for event in events)})


def _top(feature: Feature, events: Sequence[Happened]) -> Any:
    texts = feature.items is not None and feature.items.type == "string"
    values = [event.data[feature.field or ""] if texts else _whole(feature, event) for event in events]
    ranked = sorted(Counter(values).items(), key=lambda pair: (-pair[1], _rank(pair[0])))
    best = [value for value, _ in ranked[: feature.max_items or TOP_ITEMS]]
    scale = _scale(feature)
    return best if texts or scale == 1 else [value / scale for value in best]


def _rank(value: str | int) -> bytes | int:
    return value.encode() if isinstance(value, str) else value


_AGGREGATES: dict[str, Callable[[Feature, Sequence[Happened]], Any]] = {
    "count": _count,
    "sum": _sum,
    "mean": _mean,
    "min": _min,
    "max": _max,
    "last": _last,
    "distinct": _distinct,
    "top": _top,
}
