# SPDX-License-Identifier: Apache-2.0
"""A bundle compiled: which keys of which views it reads, and which of their columns it gives.

Everything that a request would otherwise resolve is resolved here, once a configuration. The keys of an entity are
remembered, since making four hundred of them costs more than reading them from Redis.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from endcap_api.features_config import BundleContract
from endcap_runtime.features.layout import Evaluated, InvalidEntity, Status, View
from endcap_runtime.features.lookup.entities import InvalidKeys, entities_of, values_of
from endcap_runtime.features.lookup.found import Found, Read, Window
from endcap_runtime.features.windows.header import HEADER

_MOST_KNOWN = 65_536
_TRUNCATED = np.uint8(Status.TRUNCATED)  # numpy is slow to make a number of an enumeration


@dataclass(frozen=True, slots=True)
class Part:
    """What a bundle takes from one view: the columns `picked`, to the `places` of the bundle.

    `store` is the digest of the store's configuration, so that a store that moved is another one.
    """

    view: View
    store: str
    picked: tuple[int, ...]
    places: tuple[int, ...]

    @property
    def stream(self) -> bool:
        return self.view.kind != "row"


class Bundle:
    """Immutable but for the keys that it remembers."""

    def __init__(self, name: str, contract: BundleContract, parts: Sequence[Part]) -> None:
        self.name, self.contract, self.parts = name, contract, tuple(parts)
        self.columns = tuple(contract.columns)
        self._known: dict[Any, tuple[bytes, ...]] = {}

    @property
    def digest(self) -> str:
        return self.contract.digest

    def keys(self, given: Mapping[str, Sequence[Any]]) -> list[Sequence[bytes]]:
        """The keys in Redis of N entities, a list for each part. Raises InvalidKeys."""
        entities = entities_of(self.contract.entity, self.contract.keys, given)
        try:
            found = list(map(self._known.__getitem__, entities))
        except KeyError:
            self._learn(entities)
            found = list(map(self._known.__getitem__, entities))
        return list(zip(*found, strict=True))

    def _learn(self, entities: Sequence[Any]) -> None:
        if len(self._known) + len(entities) > _MOST_KNOWN:
            self._known.clear()
        for row, entity in enumerate(entities):
            if entity not in self._known:
                self._known[entity] = self._keys_of(row, entity)

    def _keys_of(self, row: int, entity: Any) -> tuple[bytes, ...]:
        values = values_of(entity)
        try:
            return tuple(part.view.key(values) for part in self.parts)
        except InvalidEntity as error:
            raise InvalidKeys(f"{error.field}[{row}]", error.message) from error

    def found(self, reads: Sequence[Read]) -> Found:
        """The bundle's columns from the states of each part."""
        evaluated = [
            part.view.evaluate(read.states, read.now_ms) for part, read in zip(self.parts, reads, strict=True)
        ]
        return self.assembled(reads, evaluated)

    def assembled(self, reads: Sequence[Read], evaluations: Sequence[Evaluated]) -> Found:
        """The same where the states were evaluated already, by part."""
        rows = len(reads[0].states)
        values: list[Any] = [None] * len(self.columns)
        windows: list[Window] = [None] * len(self.columns)
        statuses = np.empty((len(self.columns), rows), np.uint8)
        kept: dict[int, Mapping[int, int]] = {}
        for part, read, evaluated in zip(self.parts, reads, evaluations, strict=True):
            for column, place in zip(part.picked, part.places, strict=True):
                values[place] = evaluated.values[column]
                windows[place] = evaluated.windows[column]
                statuses[place] = _flagged(evaluated.statuses[column], read, late=read.late and part.stream)
            if part.view.kind == "events" and (evaluated.statuses == _TRUNCATED).any():
                kept |= _kept_from(part, evaluated, read.states)
        age = max(read.age_ms for read in reads)
        late = self._late(reads)
        return Found(self.name, self.digest, self.columns, values, statuses, windows, age, kept, late)

    def _late(self, reads: Sequence[Read]) -> bool:
        """Whether lag alone makes values STALE: of a store that cannot be asked nobody knows how far behind it is."""
        if any(read.unread is not None for read in reads):
            return False
        return any(read.late and part.stream for part, read in zip(self.parts, reads, strict=True))


def _kept_from(
    part: Part, evaluated: Evaluated, states: Sequence[bytes | None]
) -> dict[int, Mapping[int, int]]:
    """By place in the bundle and row: the time of the newest event that is no longer kept."""
    kept: dict[int, Mapping[int, int]] = {}
    for column, place in zip(part.picked, part.places, strict=True):
        rows = np.flatnonzero(evaluated.statuses[column] == Status.TRUNCATED).tolist()
        kept[place] = {row: HEADER.unpack_from(state)[-1] for row in rows if (state := states[row])}
    return kept


def _flagged(statuses: Any, read: Read, *, late: bool) -> Any:
    """STALE where the store could not be asked, or is behind; what cannot be read stays ERROR."""
    if read.unread is None and not late:
        return statuses
    stale = statuses != Status.ERROR
    if not late:
        stale &= read.unread
    return np.where(stale, np.uint8(Status.STALE), statuses)
