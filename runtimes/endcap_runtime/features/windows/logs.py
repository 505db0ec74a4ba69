# SPDX-License-Identifier: Apache-2.0
"""Storage `events`: the last events of each entity, in the order of their times.

The logs of all entities are laid end to end, each column is a mask over the events, and one reduction over the
segments gives a kind of aggregate for all entities and all columns that ask for it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from endcap_runtime.features.statuses import Status
from endcap_runtime.features.windows.evaluated import Array, Cell, Evaluated, unusable, values_of
from endcap_runtime.features.windows.header import LOG, SIZE, headers, heads_of

FARTHEST = 2**62
ALWAYS = frozenset({"count", "sum", "distinct"})  # 0 over no event; the others have nothing to say then
OBJECTS = frozenset({"top", "last_text"})


@dataclass(frozen=True)
class LogColumn:
    """`op`: count, sum, mean, min, max, last, last_text, distinct or top.

    `predicate` is the bit of the events that count. `field` is a position in `numbers` of a record, or the name of a
    text; `limit` the length of a top list, `items` the type of its elements.
    """

    cell: Cell
    op: str
    window_ms: int
    predicate: int
    field: int | str | None = None
    limit: int = 0
    items: str | None = None


class _Segments(NamedTuple):
    """Which rows have events at all, and where the events of each of those start and end."""

    filled: NDArray[np.intp]
    starts: NDArray[np.intp]
    ends: NDArray[np.intp]


@dataclass(frozen=True)
class EventLog:
    """`record` has the fields time (ms), numbers [K], bits, and texts; times rise."""

    record: np.dtype[Any]
    columns: tuple[LogColumn, ...]
    ttl_ms: int

    @cached_property
    def _spans(self) -> NDArray[np.int64]:
        return np.array([[column.window_ms] for column in self.columns], np.int64)

    @cached_property
    def _predicates(self) -> Array:
        return np.array([[column.predicate] for column in self.columns], self.record["bits"])

    @cached_property
    def _always(self) -> NDArray[np.bool_]:
        return np.array([[column.op in ALWAYS] for column in self.columns])

    @cached_property
    def _scales(self) -> NDArray[np.int64]:
        return np.array([[column.cell.scale] for column in self.columns], np.int64)

    @cached_property
    def _means(self) -> Array:
        return np.array([[column.op == "mean"] for column in self.columns])

    @cached_property
    def _tallies(self) -> Array:
        return np.array([[column.op == "count"] for column in self.columns])

    @cached_property
    def _simple(self) -> list[Cell]:
        """What becomes of whole numbers; texts and lists are put in their places afterwards."""
        cells = [column.cell for column in self.columns]
        return [cell if cell.type not in ("string", "array") else Cell("integer", 0) for cell in cells]

    @cached_property
    def _groups(self) -> dict[str, tuple[NDArray[np.intp], list[Any]]]:
        """Columns whose aggregate is found by the same reduction, and the fields they read."""
        names = {"sum": "sum", "mean": "sum", "min": "min", "max": "max", "last": "last"}
        groups: dict[str, list[int]] = {}
        for position, column in enumerate(self.columns):
            if column.op in names:
                groups.setdefault(names[column.op], []).append(position)
        return {
            name: (np.array(members), [self.columns[member].field for member in members])
            for name, members in groups.items()
        }

    @cached_property
    def _one_by_one(self) -> list[int]:
        return [i for i, column in enumerate(self.columns) if column.op in {"distinct", *OBJECTS}]

    def evaluate(self, states: Sequence[bytes | None], now_ms: int) -> Evaluated:
        """States [N] at `now_ms`; raises nothing: a state that cannot be read is ERROR."""
        head = headers(heads_of(states, self.record.itemsize), LOG, states)
        events, segments = self._events(states, head.known)
        counts = np.zeros((len(self.columns), len(states)), np.int64)
        whole = np.zeros_like(counts)
        lists: dict[int, list[Any]] = {}
        start = now_ms - self._spans
        if len(events):
            masks = self._masks(events, start, now_ms)
            counts[:, segments.filled] = np.add.reduceat(masks, segments.starts, axis=1, dtype=np.int64)
            self._reduce(events, segments, masks, whole)
            lists = self._slowly(events, segments, masks, whole)
        status, blank = unusable(head, self.ttl_ms, now_ms)
        nothing = (counts == 0) & ~self._always
        statuses = nothing.view(np.uint8)  # DEFAULTED is 1
        statuses = np.where(head.extra > start, np.uint8(Status.TRUNCATED), statuses)
        statuses = np.where(blank, status, statuses)
        return Evaluated(
            self._values(counts, whole, lists, nothing | blank),
            statuses,
            tuple((now_ms - column.window_ms, now_ms) for column in self.columns),
            head.written,
        )

    def _events(self, states: Sequence[bytes | None], known: NDArray[np.bool_]) -> tuple[Array, _Segments]:
        """All events end to end, and whose they are."""
        whole = [
            state[SIZE:] if sound and state else b""
            for state, sound in zip(states, known.tolist(), strict=True)
        ]
        lengths = np.fromiter(map(len, whole), np.intp, len(whole)) // self.record.itemsize
        ends = np.cumsum(lengths)
        filled = np.flatnonzero(lengths)
        return np.frombuffer(b"".join(whole), self.record), _Segments(
            filled, (ends - lengths)[filled], ends[filled]
        )

    def _masks(self, events: Array, start: NDArray[np.int64], now_ms: int) -> NDArray[np.bool_]:
        """Which events count, [F, events]."""
        time = events["time"]
        inside = (time > start) & (time <= now_ms)
        counted: NDArray[np.bool_] = np.logical_and(inside, (events["bits"] & self._predicates) != 0)
        return counted

    def _reduce(self, events: Array, segments: _Segments, masks: NDArray[np.bool_], whole: Array) -> None:
        for name, (members, fields) in self._groups.items():
            mask, values = masks[members], events["numbers"].T[fields]
            if name == "last":
                mask = self._newest(events["time"], segments, mask)
            fill, reduction = _REDUCTIONS[name]
            found = reduction.reduceat(np.where(mask, values, fill), segments.starts, axis=1)
            whole[members[:, None], segments.filled] = found

    @staticmethod
    def _newest(time: Array, segments: _Segments, mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Of the events that count, those of each entity's newest millisecond."""
        times = np.where(mask, time, -FARTHEST)
        newest = np.maximum.reduceat(times, segments.starts, axis=1)
        repeated = np.repeat(newest, segments.ends - segments.starts, axis=1)
        latest: NDArray[np.bool_] = np.logical_and(mask, times == repeated)
        return latest

    def _slowly(
        self, events: Array, segments: _Segments, masks: NDArray[np.bool_], whole: Array
    ) -> dict[int, list[Any]]:
        """What is found entity by entity: distinct values, top lists, texts. Fills `whole` for distinct."""
        found: dict[int, list[Any]] = {}
        for position in self._one_by_one:
            column, mask = self.columns[position], masks[position]
            values = self._field(events, column)
            cells: list[Any] = [None] * whole.shape[1]
            for row, start, end in zip(*(part.tolist() for part in segments), strict=True):
                kept = mask[start:end]
                cells[row] = _one(column, values[start:end][kept], events["time"][start:end][kept])
            if column.op == "distinct":
                whole[position] = [cell or 0 for cell in cells]
            else:
                found[position] = cells
        return found

    @staticmethod
    def _field(events: Array, column: LogColumn) -> Array:
        if isinstance(column.field, str):
            return np.asarray(events[column.field])
        return np.asarray(events["numbers"][:, column.field])

    def _values(
        self, counts: Array, whole: Array, lists: dict[int, list[Any]], blank: NDArray[np.bool_]
    ) -> tuple[Array, ...]:
        divisors = self._scales
        if self._means.any():
            divisors = np.where(self._means, np.maximum(counts, 1), 1) * divisors
        values = values_of(self._simple, np.where(self._tallies, counts, whole), divisors, blank)
        for position in self._one_by_one:
            cell = self.columns[position].cell
            if cell.type in ("string", "array"):
                values[position] = _objects(cell, lists.get(position), blank[position])
        return tuple(values)


_REDUCTIONS: dict[str, tuple[int, np.ufunc]] = {
    "sum": (0, np.add),
    "min": (FARTHEST, np.minimum),
    "max": (-FARTHEST, np.maximum),
    "last": (-FARTHEST, np.maximum),
}


def _objects(cell: Cell, found: list[Any] | None, blank: NDArray[np.bool_]) -> Array:
    values = cell.filled(len(blank))
    for row in np.flatnonzero(~blank).tolist() if found else ():
        values[row] = found[row] if found else cell.default
    return values


def _one(column: LogColumn, values: Array, times: Array) -> Any:
    if column.op == "distinct":
        return len(np.unique(values))
    if column.op == "top":
        return _top(column, values.tolist())
    return max(values[times == times.max()].tolist()).decode() if len(values) else None


def _top(column: LogColumn, values: list[Any]) -> list[Any]:
    """The most frequent first; of those that are as frequent, the smallest."""
    ranked = sorted(Counter(values).items(), key=lambda pair: (-pair[1], pair[0]))[: column.limit]
    if column.items == "string":
        return [value.decode() for value, _ in ranked]
    if column.items == "number":
        return [value / column.cell.scale for value, _ in ranked]
    return [value for value, _ in ranked]
