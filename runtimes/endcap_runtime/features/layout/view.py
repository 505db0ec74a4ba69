# SPDX-License-Identifier: Apache-2.0
"""A view compiled: what the parts of the feature store know of it."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

from endcap_api.digest import digest_of
from endcap_api.feature_columns import FeatureColumn, columns_of
from endcap_api.features_config import ViewConfig
from endcap_api.v1alpha1.base import milliseconds
from endcap_api.v1alpha1.featureview import Feature, FeatureViewSpec, Stream
from endcap_runtime.features.layout.faults import InvalidEvent, InvalidRow, InvalidView
from endcap_runtime.features.layout.inputs import decimals_of, inputs_of
from endcap_runtime.features.layout.keys import EntityKeys, entity_keys
from endcap_runtime.features.layout.logs import MAX_EVENTS, LogPacking
from endcap_runtime.features.layout.rings import NEEDS, RingPacking
from endcap_runtime.features.layout.rows import RowPacking, row_packing
from endcap_runtime.features.layout.updates import MINUTE_MS, Event, Update, expiry_ms, fingerprint
from endcap_runtime.features.windows import Cell, Evaluated, EventLog, Ring, Row

SEEN_MS = 8 * 86_400_000  # an event waits for a week at most
LAYOUT = 1
_EVENT = struct.Struct("<qqqqq")

Packing = LogPacking | RingPacking | RowPacking
Octets = bytes  # View has a size of that name


@dataclass(frozen=True)
class View:
    """`digest`: 8 digits of what the packing depends on; `bytes`: the most that one entity takes."""

    name: str
    kind: Literal["events", "tiles", "row"]
    columns: tuple[FeatureColumn, ...]
    digest: str
    ttl_ms: int
    lateness_ms: int
    prefix: Octets
    packing: Packing
    reader: EventLog | Ring | Row
    keys: EntityKeys
    event_keys: tuple[str, ...]
    version: str | None = None

    @property
    def bytes(self) -> int:
        return self.packing.size

    def key(self, entity: Sequence[str | int]) -> Octets:
        """The key of the entity's state; raises InvalidEntity."""
        return self._beginning + self.keys.encoded(entity).ending

    @cached_property
    def _beginning(self) -> Octets:
        return b"%b:%b@%b" % (self.prefix, self.name.encode(), self.digest.encode())

    @cached_property
    def _seen(self) -> Octets:
        return b"%b:seen:%b@%b" % (self.prefix, self.name.encode(), self.digest.encode())

    def seen_key(self, tag: Octets, time_ms: int) -> Octets:
        """The set of ids of the events of a minute, in the part of the store that `tag` names."""
        return b"%b%b%d" % (self._seen, tag, time_ms // MINUTE_MS)

    def evaluate(self, states: Sequence[Octets | None], now_ms: int) -> Evaluated:
        """States [N] at `now_ms`; raises nothing: a state that cannot be read is ERROR."""
        return self.reader.evaluate(states, now_ms)

    def row(self, values: Mapping[str, Any], at_ms: int, version: str | None = None) -> Octets:
        """A row of a precomputed or derived view; raises InvalidRow."""
        if not isinstance(self.packing, RowPacking):
            raise InvalidRow("view", f"{self.name} is fed by events and takes no rows: send events")
        return self.packing.pack(values, at_ms, version)

    def updates(self, event: Event, arrival_ms: int) -> Update | None:
        """What the event does to this view; None when no feature counts it. Raises InvalidEvent, InvalidEntity."""
        if isinstance(self.packing, RowPacking):
            raise InvalidEvent("view", f"{self.name} takes rows and no events: load rows")
        seen = self.packing.inputs.read(event)
        if seen is None:
            return None
        tag, ending = self.keys.encoded(self._entity(event))
        change = self.packing.change(seen, min(event.time_ms, arrival_ms))
        return Update(
            self.name,
            self.kind,
            self._beginning + ending,
            self.seen_key(tag, event.time_ms),
            self._times(event, arrival_ms) + fingerprint(event),
            change,
        )

    def _entity(self, event: Event) -> list[Any]:
        for name in self.event_keys:
            if name not in event.data:
                raise InvalidEvent(f"data.{name}", f"missing: it is a key of {self.name}, send it")
        return [event.data[name] for name in self.event_keys]

    @property
    def keep_ms(self) -> int:
        """How long Redis keeps the ids of a minute by itself, from the first that it was told."""
        return SEEN_MS + self.lateness_ms

    def _times(self, event: Event, arrival_ms: int) -> Octets:
        return _EVENT.pack(event.time_ms, arrival_ms, self.lateness_ms, expiry_ms(self.ttl_ms), self.keep_ms)


def compile_view(name: str, config: ViewConfig, prefix: str) -> View:
    """`prefix` begins the keys of the view's store; raises InvalidView."""
    spec = config.spec
    columns = tuple(columns_of(spec))
    features = {feature.name: (feature, position) for position, feature in enumerate(spec.features)}
    of = [features[column.feature] for column in columns]
    cells = [_cell(feature, column) for (feature, _), column in zip(of, columns, strict=True)]
    packing, reader = _packing(spec, columns, of, cells, config.version)
    stream = spec.source.stream
    lateness = milliseconds(stream.lateness) if stream else 0
    kinds = tuple((key.name, key.type) for key in spec.entity.keys)
    kind: Literal["events", "tiles", "row"] = stream.storage if stream else "row"
    meaning = [LAYOUT, kind, kinds, lateness, packing.meaning()]
    return View(
        name=name,
        kind=kind,
        columns=columns,
        digest=digest_of(meaning)[:8],
        ttl_ms=milliseconds(spec.ttl),
        lateness_ms=lateness,
        prefix=prefix.encode(),
        packing=packing,
        reader=reader,
        keys=entity_keys(kinds),
        event_keys=tuple(key_name for key_name, _ in kinds),
        version=config.version,
    )


def _cell(feature: Feature, column: FeatureColumn) -> Cell:
    number = column.type == "number" or column.items == "number"
    return Cell(column.type, column.default, 10 ** decimals_of(feature) if number else 1)


def _packing(
    spec: FeatureViewSpec, columns: tuple[FeatureColumn, ...], of: list[tuple[Feature, int]], cells: list[Cell],
    version: str | None,
) -> tuple[Packing, EventLog | Ring | Row]:  # fmt: skip
    ttl, stream = milliseconds(spec.ttl), spec.source.stream
    if stream is None:
        rows = row_packing(columns, [feature for feature, _ in of], cells, ttl, version)
        return rows, rows.row
    for feature in spec.features:
        _refuse_unless_aggregated(feature)
    inputs = inputs_of(spec.features)
    if stream.storage == "events":
        longest = max(column.window_ms or 0 for column in columns)
        logs = LogPacking(inputs, stream.max_events or MAX_EVENTS, longest)
        return logs, logs.reader(of, columns, cells, ttl)
    rings = RingPacking(inputs, tuple(of), columns, _tiles(stream, columns, of))
    return rings, rings.reader(cells, ttl)


def _refuse_unless_aggregated(feature: Feature) -> None:
    if not (feature.event and feature.aggregation and feature.windows):
        raise InvalidView(
            f"features.{feature.name}", "a feature of a stream needs event, aggregation and windows: set them"
        )
    if feature.aggregation != "count" and feature.field is None:
        raise InvalidView(f"features.{feature.name}", f"{feature.aggregation} needs a field: set it")


def _tiles(
    stream: Stream, columns: Sequence[FeatureColumn], of: Sequence[tuple[Feature, int]]
) -> dict[int, int]:
    """The tile of each window, both in ms, in the order of the windows' lengths."""
    for feature, _ in of:
        if feature.aggregation not in NEEDS or feature.type in ("string", "array"):
            raise InvalidView(
                f"features.{feature.name}", f"{feature.aggregation} of {feature.type} needs storage: events"
            )
    given = {milliseconds(window): milliseconds(tile) for window, tile in (stream.tiles or {}).items()}
    windows = sorted({column.window_ms or 0 for column in columns})
    tiles = {window: given.get(window, window // 60) for window in windows}
    for window, tile in tiles.items():
        if tile == 0 or window % tile:
            raise InvalidView("source.stream.tiles", f"{tile} ms does not divide {window} ms: set its tile")
    return tiles
