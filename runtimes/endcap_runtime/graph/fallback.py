# SPDX-License-Identifier: Apache-2.0
"""The ladder below the steps: what is answered when they cannot, and what fills an answer that is too short.

The filters hold for whatever comes from here. A filter that cannot run fails the rung: an item that nobody checked
is worse than one item less.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from time import monotonic
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from endcap_runtime.graph.candidates import NOBODY, Candidates, Recalled
from endcap_runtime.graph.failures import NoAnswer, StepFailed
from endcap_runtime.graph.query import Note, Query
from endcap_runtime.graph.steps.features import FeaturesStep
from endcap_runtime.graph.steps.filter import FilterStep
from endcap_runtime.graph.steps.merge import MERGE
from endcap_runtime.graph.steps.recall import Source

FALLBACK = "fallback"
EMPTY = "empty"
_BATCH = 1000


class Batches(NamedTuple):
    """Candidates best first, and the model or catalogue with the version that they come from."""

    model: str
    each: Iterable[Candidates]


class Rung(Protocol):
    """Candidates that need nothing of the steps; asking raises StepFailed.

    name: a model's, or `catalogue`. bit: its place among all sources of candidates.
    """

    @property
    def name(self) -> str: ...

    @property
    def bit(self) -> int: ...

    async def batches(self, query: Query) -> Batches: ...


@dataclass(frozen=True, slots=True)
class ModelRung:
    """A recall model whose inputs are fields of the request."""

    source: Source

    @property
    def name(self) -> str:
        return self.source.name

    @property
    def bit(self) -> int:
        return self.source.bit

    async def batches(self, query: Query) -> Batches:
        found, prediction = await self.source.recall(query, _note(query))
        return Batches(prediction.model, (Candidates.merge([found]),))


@dataclass(frozen=True, slots=True)
class CatalogueRung:
    """All items by a column, int32 [items], best first; the first batch serves most requests."""

    bit: int
    ordered: NDArray[np.int32]
    version: str
    name: str = "catalogue"

    async def batches(self, query: Query) -> Batches:  # noqa: ARG002 the catalogue asks nobody
        return Batches(self.version, self._split())

    def _split(self) -> Iterator[Candidates]:
        for rows in (self.ordered[:_BATCH], self.ordered[_BATCH:]):
            yield Candidates.merge([Recalled(self.name, self.bit, rows, {})])


@dataclass(frozen=True, slots=True)
class Ladder:
    """The rungs in order and the filters that hold on each; `empty` says whether an empty list is the last.

    features: what looks up the features that the filters read, of the request and of what comes from the rungs.
    """

    rungs: Sequence[Rung]
    filters: Sequence[FilterStep]
    features: Sequence[FeaturesStep]
    empty: bool

    async def answer(self, query: Query, wanted: Callable[[Query], int]) -> Query:
        """Answers from the first rung that has something. Raises NoAnswer when none could even be asked."""
        asked = self.empty
        count = _counted(query, wanted)
        for rung in self.rungs if count is not None else ():
            try:
                found = await self._extended(NOBODY, rung, query, count or 0)
            except StepFailed as failed:
                _blame(query, rung.name, failed.reason)
                continue
            asked = True
            if found:
                return query.of(found)
        if self.empty:
            _note(query).model = EMPTY
        if asked:
            return query.of(NOBODY)
        raise NoAnswer(_failures(query))

    async def fill(self, query: Query, candidates: Candidates, wanted: int) -> Candidates:
        """The candidates and, behind them, what the rungs have, until `wanted` are there."""
        for rung in self.rungs:
            if len(candidates) >= wanted:
                break
            try:
                candidates = await self._extended(candidates, rung, query, wanted)
            except StepFailed as failed:
                _blame(query, rung.name, failed.reason)
        return candidates

    async def _extended(self, before: Candidates, rung: Rung, query: Query, wanted: int) -> Candidates:
        """The candidates and what the rung adds to them, which is noted: the rung is named only when it gave some."""
        note, start = _note(query), monotonic()
        try:
            batches = await rung.batches(query)
            extended = await self._taken(before, batches, query, wanted)
        finally:
            note.ms += (monotonic() - start) * 1000
        if added := len(extended) - len(before):
            note.kept = (note.kept or 0) + added
            note.model = f"{note.model}+{batches.model}" if note.model else batches.model
        return extended

    async def _taken(self, before: Candidates, batches: Batches, query: Query, wanted: int) -> Candidates:
        # What has to be looked up is not the whole catalogue: the first batch has to do.
        for batch in islice(batches.each, 1 if self.features else None):
            before = before.followed_by(await self.passing(query, batch))
            if len(before) >= wanted:
                break
        return first(before, wanted)

    async def passing(self, query: Query, candidates: Candidates) -> Candidates:
        """What the filters let through. Raises StepFailed when one of them cannot say."""
        for features in self.features:
            candidates = await features.complete(query, candidates)
        for step in self.filters:
            candidates = step.passing(query, candidates)
        return candidates


def _counted(query: Query, wanted: Callable[[Query], int]) -> int | None:
    """How many the answer needs; None where the request's own count fails, which is noted under the select."""
    try:
        return wanted(query)
    except StepFailed as failed:
        query.notes.setdefault(failed.step, Note(failure=failed.reason, kind=failed.kind))
        return None


def first(candidates: Candidates, count: int) -> Candidates:
    return candidates if len(candidates) <= count else candidates.take(slice(count))


def _failures(query: Query) -> list[tuple[str, str]]:
    """What failed and why; that the merge was empty is said by the recalls."""
    notes = query.notes.items()
    return [(name, note.failure) for name, note in notes if note.failure and name != MERGE]


def _note(query: Query) -> Note:
    return query.notes.setdefault(FALLBACK, Note(kept=0))


def _blame(query: Query, rung: str, reason: str) -> None:
    note = _note(query)
    before = f"{note.failure}; " if note.failure else ""
    note.failure = f"{before}{rung}: {reason}"
