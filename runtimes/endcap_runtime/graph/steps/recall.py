# SPDX-License-Identifier: Apache-2.0
"""Candidates from a model or from a list. Several recall steps are asked together and merged afterwards."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from prometheus_client import Counter

from endcap_api.v1alpha1.values import Column
from endcap_runtime.graph.candidates import Recalled, Values
from endcap_runtime.graph.catalogue import Catalogue
from endcap_runtime.graph.expressions import Expression
from endcap_runtime.graph.query import Note, Query
from endcap_runtime.graph.steps.calls import CalledModel
from endcap_runtime.graph.steps.expression import Reading
from endcap_runtime.graph.steps.inputs import DTYPES, Inputs
from endcap_runtime.graph.upstream import Prediction


@dataclass(frozen=True, slots=True)
class Source:
    """A model that recalls.

    identifier: what its columns are called by in expressions. bit: its place among all sources. item: the output
    with the keys of the items. columns: the other outputs that something reads. top: most candidates taken. unknown:
    counts the items that the catalogue does not know.
    """

    name: str
    identifier: str
    bit: int
    called: CalledModel
    inputs: Inputs
    item: str
    columns: Sequence[Column]
    top: int
    catalogue: Catalogue
    unknown: Counter

    async def recall(self, query: Query, note: Note) -> tuple[Recalled, Prediction]:
        """What the model found; an item that the catalogue does not know has row -1, and is noted and counted.

        Raises StepFailed.
        """
        with Reading(self.name):
            columns = self.inputs.once(query, query.scope)
        prediction = await self.called.predict(columns, 1, query)
        found = self._recalled(prediction)
        _count_unknown(found, note, self.unknown)
        return found, prediction

    def _recalled(self, prediction: Prediction) -> Recalled:
        rows = self.catalogue.rows_of(prediction.columns[self.item][0][: self.top])
        columns = {column.name: self._column(prediction, column) for column in self.columns}
        return Recalled(self.identifier, self.bit, rows, columns)

    def _column(self, prediction: Prediction, column: Column) -> Values:
        values = prediction.columns[column.name][0][: self.top]
        element = column.items.type if column.items is not None else column.type
        if element == "product":
            return self.catalogue.rows_of(values)
        return np.array(values, dtype=DTYPES[element])


@dataclass(frozen=True, slots=True)
class RecallStep:
    """A recall step of the graph: notes what it found under its name."""

    source: Source

    @property
    def name(self) -> str:
        return self.source.name

    async def __call__(self, query: Query) -> Query:
        note = query.notes[self.name]
        found, prediction = await self.source.recall(query, note)
        note.model = prediction.model
        note.kept = len(found.rows) - (note.unknown_items or 0)
        query.recalled[self.name] = found
        return query


@dataclass(frozen=True, slots=True)
class ListStep:
    """Takes candidates from a list of keys that something else has formed, the best first: it asks no model."""

    name: str
    identifier: str
    bit: int
    products: Expression
    top: int
    catalogue: Catalogue
    unknown: Counter

    async def __call__(self, query: Query) -> Query:
        with Reading(self.name):
            keys = self.products(query.scope)
        found = Recalled(self.identifier, self.bit, self.catalogue.rows_of(keys[: self.top]), {})
        note = query.notes[self.name]
        _count_unknown(found, note, self.unknown)
        note.kept = len(found.rows) - found.unknown
        query.recalled[self.name] = found
        return query


def _count_unknown(found: Recalled, note: Note, counter: Counter) -> None:
    if unknown := found.unknown:
        note.unknown_items = unknown
        counter.inc(unknown)
