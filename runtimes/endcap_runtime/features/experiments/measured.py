# SPDX-License-Identifier: Apache-2.0
"""An experiment as ingest counts it: which events are outcomes of it, whose, and what they add to which metric."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from endcap_api.experiment_config import MeasuredConfig, MetricConfig
from endcap_api.v1alpha1.measurement import Event as Wanted
from endcap_runtime.features.experiments.units import fault_of, hidden, tag_of
from endcap_runtime.features.layout import Event, InvalidEvent
from endcap_runtime.features.layout.faults import kind_of
from endcap_runtime.features.layout.inputs import Predicate
from endcap_runtime.features.layout.keys import PARTITIONS
from endcap_runtime.features.layout.updates import GRACE_MS, MINUTE_MS, fingerprint
from endcap_runtime.features.layout.view import SEEN_MS

LATENESS_MS = GRACE_MS
LARGEST = 1e12  # its square, a thousand million times, is still far from where doubles end
_TIMES = struct.Struct("<qqqq")
_COUNTS = struct.Struct("<qq")

Part = Literal["y", "c", "d"]


class Call(NamedTuple):
    """One call of the library: all keys lie in one part of the store."""

    function: str
    keys: tuple[bytes, ...]
    arguments: tuple[bytes, ...]


class Addend(NamedTuple):
    """What an event adds to a metric: to its value (y), as a conversion (c), or to what a ratio is per (d)."""

    metric: str
    part: Part
    value: float
    window_ms: int

    def packed(self) -> bytes:
        name = self.metric.encode()
        return struct.pack(
            f"<B{len(name)}scdq", len(name), name, self.part.encode(), self.value, self.window_ms
        )


class Outcome(NamedTuple):
    """All that an event does to one unit; the call answers a word for each of `metrics`, or one for all."""

    experiment: str
    metrics: tuple[str, ...]
    call: Call


class _Reading(NamedTuple):
    metric: str
    unit: str
    part: Part
    predicate: Predicate
    field: str | None
    window_ms: int


@dataclass(frozen=True)
class Measured:
    """`name` and `digest` say, as those of a view do, whose seen ids are kept."""

    experiment: str
    id: str
    variants: tuple[str, ...]
    metrics: tuple[str, ...]
    events: dict[str, tuple[_Reading, ...]]
    beginning: str

    lateness_ms = LATENESS_MS
    keep_ms = SEEN_MS + LATENESS_MS

    @property
    def name(self) -> str:
        return f"experiment/{self.experiment}"

    @property
    def digest(self) -> str:
        return self.id

    @property
    def sums_keys(self) -> list[bytes]:
        return [f"{self.beginning}:sums{{{part}}}".encode() for part in range(PARTITIONS)]

    def seen_key(self, tag: bytes, time_ms: int) -> bytes:
        return f"{self.beginning}:seen".encode() + tag + b"%d" % (time_ms // MINUTE_MS)

    def read(self, event: Event) -> dict[str, list[Addend]]:
        """By unit, as it was given. Raises InvalidEvent."""
        found: dict[str, list[Addend]] = {}
        for reading in self.events.get(event.type, ()):
            if reading.predicate.holds(event.data):
                unit = _unit(event, reading.unit)
                value = 1.0 if reading.field is None else _number(event, reading.field)
                added = Addend(reading.metric, reading.part, value, reading.window_ms)
                found.setdefault(unit, []).append(added)
        return found

    def outcomes(self, event: Event, arrival_ms: int, key: bytes) -> Iterator[Outcome]:
        """One for each unit that the event names. Raises InvalidEvent."""
        for unit, addends in self.read(event).items():
            yield self._outcome(event, arrival_ms, hidden(key, unit), addends)

    def _outcome(self, event: Event, arrival_ms: int, unit: str, addends: Sequence[Addend]) -> Outcome:
        tag = tag_of(unit)
        state, sums, wait = keys_of(self.beginning, unit)
        times = _TIMES.pack(event.time_ms, arrival_ms, self.lateness_ms, self.keep_ms)
        counts = _COUNTS.pack(min(event.time_ms, arrival_ms), arrival_ms)
        arguments = (
            times + fingerprint(event, unit.encode()),
            counts + b"".join(a.packed() for a in addends),
        )
        call = Call("outcome", (state, sums, self.seen_key(tag.encode(), event.time_ms), wait), arguments)
        return Outcome(self.experiment, tuple(addend.metric for addend in addends), call)


def beginning_of(prefix: str, identity: str) -> str:
    """What the keys of an experiment begin with."""
    return f"{prefix}:exp:{identity}"


def keys_of(beginning: str, unit: str) -> tuple[bytes, bytes, bytes]:
    """State, sums and waiting outcomes of a hidden unit."""
    tag = tag_of(unit)
    named = (f"{beginning}{tag}{unit}", f"{beginning}:sums{tag}", f"{beginning}:wait{tag}{unit}")
    state, sums, wait = (key.encode() for key in named)
    return state, sums, wait


def compile_measured(name: str, config: MeasuredConfig, prefix: str) -> Measured:
    """`prefix` begins the keys of the store."""
    events: dict[str, tuple[_Reading, ...]] = {}
    for metric in config.metrics:
        for kind, reading in _readings(metric):
            events[kind] = (*events.get(kind, ()), reading)
    return Measured(
        experiment=name,
        id=config.id,
        variants=tuple(config.variants),
        metrics=tuple(metric.name for metric in config.metrics),
        events=events,
        beginning=beginning_of(prefix, config.id),
    )


def _readings(metric: MetricConfig) -> Iterator[tuple[str, _Reading]]:
    yield _reading(metric, metric.numerator, "c" if metric.conversion else "y")
    if metric.per is not None:
        yield _reading(metric, metric.per, "d")


def _reading(metric: MetricConfig, wanted: Wanted, part: Part) -> tuple[str, _Reading]:
    predicate = Predicate(wanted.event, tuple(sorted((wanted.where or {}).items())))
    return wanted.event, _Reading(metric.name, metric.unit, part, predicate, wanted.field, metric.window_ms)


def _unit(event: Event, name: str) -> str:
    """Whoever is assigned is known by a text, so a whole number is its digits."""
    where = f"data.{name}"
    if name not in event.data:
        raise InvalidEvent(where, "missing: it is the unit of a metric, send it")
    value: Any = event.data[name]
    if type(value) not in (str, int):
        raise InvalidEvent(
            where, f"expected a text or a whole number, got {kind_of(value)}: send the unit's id"
        )
    if message := fault_of(str(value)):
        raise InvalidEvent(where, message)
    return str(value)


def _number(event: Event, name: str) -> float:
    where = f"data.{name}"
    if name not in event.data:
        raise InvalidEvent(where, "missing, and a metric sums it: send it")
    value = event.data[name]
    if type(value) not in (int, float) or not abs(value) <= LARGEST:
        told = kind_of(value) if type(value) not in (int, float) else f"{value!r}"
        raise InvalidEvent(where, f"expected a number within {LARGEST:.0e} of 0, got {told}: check its unit")
    return float(value)
