# SPDX-License-Identifier: Apache-2.0
"""What every value must be, by brute force over the accepted events: the definition, as it is read aloud.

Nothing of the product's packing or windows is used here; sums are fractions, and every window is found by looking at
every event.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, NamedTuple

from endcap_api.v1alpha1.featureview import Feature, FeatureViewSpec

MS = {"s": 1_000, "m": 60_000, "h": 3_600_000}
SKEW = 60_000
DAY = 86_400_000


class Happened(NamedTuple):
    """An event as a producer sent it, and when it arrived (ms)."""

    id: str
    source: str
    type: str
    time: int
    arrival: int
    data: Mapping[str, Any]


def ms(span: str) -> int:
    return int(span[:-1]) * MS[span[-1]]


@dataclass
class Oracle:
    """Of one view; `accepted` are its counted events in the order of their arrival."""

    spec: FeatureViewSpec
    accepted: list[Happened] = field(default_factory=list)
    ids: set[tuple[str, str]] = field(default_factory=set)

    def hears(self, event: Happened) -> str | None:
        """What must become of the event; None when no feature counts it."""
        stream = self.spec.source.stream
        assert stream
        if not any(counts(feature, event) for feature in self.spec.features):
            return None
        if event.time < event.arrival - ms(stream.lateness):
            return "LATE"
        if event.time > event.arrival + SKEW:
            return "FUTURE"
        if (event.source, event.id) in self.ids:
            return "DUPLICATE"
        self.ids.add((event.source, event.id))
        self.accepted.append(event)
        return "APPLIED"

    def tells(self, entity: tuple[Any, ...], now: int) -> Iterator[tuple[Any, str]]:
        """The value and the status of each feature and window, in order."""
        mine = [event for event in self.accepted if self._entity(event) == entity]
        old = bool(mine) and now - max(event.arrival for event in mine) > ms(self.spec.ttl)
        kept, newest_gone = self._kept(mine)
        for feature in self.spec.features:
            counted = [event for event in kept if counts(feature, event)]
            for window in feature.windows or ():
                if not mine or old:
                    yield default_of(feature), "EXPIRED" if old else "DEFAULTED"
                    continue
                truncated = newest_gone is not None and newest_gone > now - ms(window)
                yield told(feature, [e for e in counted if self._inside(e, window, now)], truncated=truncated)

    def _entity(self, event: Happened) -> tuple[Any, ...]:
        return tuple(event.data[key.name] for key in self.spec.entity.keys)

    def _kept(self, mine: list[Happened]) -> tuple[list[Happened], int | None]:
        """Those that storage keeps of an entity's events, and the time of the newest that it does not."""
        stream = self.spec.source.stream
        assert stream
        if stream.storage == "tiles":
            return mine, None
        in_order = sorted(mine, key=when)
        most = stream.max_events or 256
        gone = in_order[:-most]
        return in_order[-most:], when(gone[-1]) if gone else None

    def _inside(self, event: Happened, window: str, now: int) -> bool:
        stream = self.spec.source.stream
        assert stream
        start = now - ms(window)
        if stream.storage == "events":
            return start < when(event) <= now
        tile = ms((stream.tiles or {}).get(window) or f"{ms(window) // 60_000}s")
        return start // tile * tile <= when(event) <= now


def told(feature: Feature, inside: list[Happened], *, truncated: bool) -> tuple[Any, str]:
    value = aggregate(feature, inside)
    status = "DEFAULTED" if value is None else "PRESENT"
    return default_of(feature) if value is None else value, "TRUNCATED" if truncated else status


def when(event: Happened) -> int:
    """The time that counts: a clock that is ahead moves nothing into the future."""
    return min(event.time, event.arrival)


def counts(feature: Feature, event: Happened) -> bool:
    wanted = feature.where or {}
    return event.type == feature.event and all(event.data[name] == text for name, text in wanted.items())


def default_of(feature: Feature) -> Any:
    zeros = {"integer": 0, "number": 0.0, "boolean": False, "string": "", "array": []}
    return zeros[feature.type] if feature.default is None else feature.default


def aggregate(feature: Feature, inside: list[Happened]) -> Any:  # noqa: PLR0911 - one line an aggregation
    """None when nothing was there to aggregate."""
    if feature.aggregation == "count":
        return len(inside)
    values = [kept(feature, event.data[str(feature.field)]) for event in inside]
    if feature.aggregation == "distinct":
        return len(set(values))
    if feature.aggregation == "sum":
        return shown(feature, sum(values, Fraction()))
    if not values:
        return None
    if feature.aggregation == "mean":
        return float(sum(values, Fraction()) / len(values))
    if feature.aggregation == "top":
        return top(feature, values)
    if feature.aggregation == "last":
        newest = max(when(event) for event in inside)
        tied = [value for value, event in zip(values, inside, strict=True) if when(event) == newest]
        return shown(feature, max(tied))
    return shown(feature, min(values) if feature.aggregation == "min" else max(values))


def kept(feature: Feature, value: Any) -> Any:
    """A number as the nearest multiple of 10^-decimals of what was written, half to even; the rest as it is."""
    decimals = 2 if feature.decimals is None else feature.decimals
    inner = feature.items.type if feature.items else feature.type
    if inner == "number" and feature.aggregation != "distinct":
        return Fraction(round(Fraction(repr(value)) * 10**decimals), 10**decimals)
    return value


def top(feature: Feature, values: list[Any]) -> list[Any]:
    tally = Counter(values)
    ranked = sorted(tally, key=lambda value: (-tally[value], value))
    shown_as = float if feature.items and feature.items.type == "number" else (lambda value: value)
    return [shown_as(value) for value in ranked[: feature.max_items or 16]]


def shown(feature: Feature, value: Any) -> Any:
    if feature.type == "number":
        return float(value)
    return int(value) if feature.type == "integer" else value
