# SPDX-License-Identifier: Apache-2.0
"""Asks a model once a request; its outputs are values that later steps and the answer read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from endcap_api.v1alpha1.values import Column
from endcap_runtime.graph.catalogue import Catalogue
from endcap_runtime.graph.query import Query
from endcap_runtime.graph.steps.calls import CalledModel
from endcap_runtime.graph.steps.expression import Reading
from endcap_runtime.graph.steps.inputs import Inputs


@dataclass(frozen=True, slots=True)
class ModelStep:
    """`identifier` is the step's name in expressions."""

    name: str
    identifier: str
    called: CalledModel
    inputs: Inputs
    outputs: Sequence[Column]
    catalogue: Catalogue

    async def __call__(self, query: Query) -> Query:
        with Reading(self.name):
            columns = self.inputs.once(query, query.scope)
        prediction = await self.called.predict(columns, 1, query)
        query.notes[self.name].model = prediction.model
        for column in self.outputs:
            value = _plain(prediction.columns[column.name][0])
            query.values[f"{self.identifier}.{column.name}"] = self._named(column, value)
        return query

    def _named(self, column: Column, value: Any) -> Any:
        if column.type == "product":
            return self.catalogue.names(self.catalogue.rows_of([value]))[0]
        if column.items is not None and column.items.type == "product":
            return self.catalogue.names(self.catalogue.rows_of(value))
        return value


def _plain(value: Any) -> Any:
    """A number of numpy as Python's own: expressions and JSON take no others."""
    return value.tolist() if hasattr(value, "tolist") else value
