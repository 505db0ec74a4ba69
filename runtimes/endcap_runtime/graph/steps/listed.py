# SPDX-License-Identifier: Apache-2.0
"""Takes candidates from a list of keys that is known already, such as an answer that was written back: no model."""

from __future__ import annotations

from dataclasses import dataclass

from prometheus_client import Counter

from endcap_runtime.graph.candidates import Recalled
from endcap_runtime.graph.catalogue import Catalogue
from endcap_runtime.graph.expressions import Expression
from endcap_runtime.graph.query import Query
from endcap_runtime.graph.steps.expression import Reading


@dataclass(frozen=True, slots=True)
class ListedStep:
    """A recall step without a model.

    identifier, bit, top, catalogue and unknown are those of a Source. products: gives the keys, the best first.
    """

    name: str
    identifier: str
    bit: int
    products: Expression
    top: int
    catalogue: Catalogue
    unknown: Counter

    async def __call__(self, query: Query) -> Query:
        note = query.notes[self.name]
        with Reading(self.name):
            keys = list(self.products(query.scope))[: self.top]
        found = Recalled(self.identifier, self.bit, self.catalogue.rows_of(keys), {})
        if found.unknown:
            note.unknown_items = found.unknown
            self.unknown.inc(found.unknown)
        note.kept = len(found.rows) - found.unknown
        query.recalled[self.name] = found
        return query
