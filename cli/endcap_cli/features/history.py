# SPDX-License-Identifier: Apache-2.0
"""What of a file of events a store has counted, as far as the file can say: when each arrived, it cannot.

So every event is taken as on time, in the order of the file; the first of a source and id counts, and one that the
store refuses at its door (a field that is missing, of another type or out of its bounds) does not. Pure.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from endcap_api.v1alpha1.featureview import Feature, FeatureViewSpec
from endcap_cli.events.file import Line, time_of
from endcap_cli.features.recompute import Happened, counts

Entity = tuple[str, ...]
LONGEST_TEXT = 32
ASSUMED = (
    "assumed: every event of the files was sent, arrived in time and in this order; events from elsewhere, late ones "
    "and times ahead of the clock make differences"
)
_SCALARS: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
}


@dataclass
class History:
    """The events that count, by the names of an entity's keys and then by the entity; and how many do not."""

    views: Mapping[str, FeatureViewSpec]
    by_entity: dict[tuple[str, ...], dict[Entity, list[Happened]]] = field(default_factory=dict)
    repeated: int = 0
    refused: int = 0

    @classmethod
    def of(cls, views: Mapping[str, FeatureViewSpec], lines: Iterable[Line]) -> History:
        history, seen = cls(views), set()
        for line in lines:
            event = _happened(line)
            if event is None or not history.takes(event):
                history.refused += 1
                continue
            name = (str((line.event or {}).get("source")), str((line.event or {}).get("id")))
            if name in seen:
                history.repeated += 1
                continue
            seen.add(name)
            history._add(event)
        return history

    def takes(self, event: Happened) -> bool:
        """Whether some view reads the event, and none of those that do would refuse it."""
        readers = [v for v in self.views.values() if any(f.event == event.type for f in v.features)]
        return bool(readers) and all(_is_sound(view, event) for view in readers)

    @property
    def newest(self) -> int | None:
        """When the last of them happened, in ms."""
        every = (event for known in self.by_entity.values() for events in known.values() for event in events)
        return max((event.time for event in every), default=None)

    def _add(self, event: Happened) -> None:
        for names in {_names(view) for view in self.views.values()}:
            if all(name in event.data for name in names):
                entities = self.by_entity.setdefault(names, defaultdict(list))
                entities[tuple(str(event.data[name]) for name in names)].append(event)

    def entities(self, view: FeatureViewSpec) -> dict[Entity, list[Happened]]:
        return self.by_entity.get(_names(view), {})


def _names(view: FeatureViewSpec) -> tuple[str, ...]:
    return tuple(key.name for key in view.entity.keys)


def _happened(line: Line) -> Happened | None:
    event = line.event or {}
    time, data = time_of(event), event.get("data")
    if time is None or not isinstance(data, dict):
        return None
    return Happened(_milliseconds(time.timestamp(), time.microsecond), str(event.get("type")), data)


def _milliseconds(seconds: float, microsecond: int) -> int:
    """Exactly: a float of seconds does not hold the milliseconds of this century."""
    return math.floor(seconds) * 1000 + microsecond // 1000


def _is_sound(view: FeatureViewSpec, event: Happened) -> bool:
    keys = all(isinstance(event.data.get(key.name), str | int) for key in view.entity.keys)
    return keys and all(_fits(feature, event) for feature in view.features if counts(feature, event))


def _fits(feature: Feature, event: Happened) -> bool:
    if feature.field is None:
        return True
    value = event.data.get(feature.field)
    if feature.aggregation == "distinct":
        return isinstance(value, str | int | float)
    kind = feature.items.type if feature.items else feature.type
    if not isinstance(value, _SCALARS[kind]) or (isinstance(value, bool) and kind != "boolean"):
        return False
    if isinstance(value, str):
        return len(value.encode()) <= (feature.max_length or LONGEST_TEXT)
    return isinstance(value, int | float) and math.isfinite(value) and _within(feature, value)


def _within(feature: Feature, value: float) -> bool:
    low, high = feature.minimum, feature.maximum
    return (low is None or value >= low) and (high is None or value <= high)
