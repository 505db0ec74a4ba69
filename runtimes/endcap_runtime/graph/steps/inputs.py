# SPDX-License-Identifier: Apache-2.0
"""What feeds a model: expressions become the columns of its contract; products become the keys it knows."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from endcap_api.expressions import Environment
from endcap_api.runtime_config import ModelContract
from endcap_api.v1alpha1.featureview import EntityKey
from endcap_api.v1alpha1.inferencegraph import WriteBack
from endcap_api.v1alpha1.steps import FeaturesStep
from endcap_api.v1alpha1.values import Column
from endcap_api.wiring import input_sources, key_sources
from endcap_runtime.graph.expressions import Expression, Scope
from endcap_runtime.graph.failures import InvalidSpec
from endcap_runtime.graph.query import Query
from endcap_runtime.graph.steps.expression import compiled

Values = Sequence[Any] | np.ndarray[Any, Any]
Feed = Callable[[Query, Scope, int], Values]

DTYPES: Mapping[str, Any] = {
    "number": np.float64,
    "integer": np.int64,
    "boolean": np.bool_,
    "string": np.object_,
    "product": np.object_,
}


@dataclass(frozen=True, slots=True)
class Inputs:
    """The columns of a contract in its order; `reads` are the dotted names that feed them."""

    feeds: tuple[tuple[str, Feed], ...]
    reads: frozenset[str]

    def once(self, query: Query, scope: Scope) -> dict[str, Values]:
        """Columns of one row, for a model that is asked once a request."""
        return {name: feed(query, scope, 1) for name, feed in self.feeds}

    def each(self, query: Query, scope: Scope, rows: int) -> dict[str, Values]:
        """Columns of `rows` rows, one a candidate; a value of the request is repeated."""
        return {name: feed(query, scope, rows) for name, feed in self.feeds}


def compile_inputs(contract: ModelContract, written: Mapping[str, str] | None, known: Environment) -> Inputs:
    """Raises InvalidSpec for an input that nothing feeds, ExpressionError for one that cannot be fed so."""
    sources = input_sources(contract, written, known)
    feeds: list[tuple[str, Feed]] = []
    reads: set[str] = set()
    for column in contract.inputs:
        source = sources[column.name]
        if source is None:
            raise InvalidSpec(f"nothing feeds input {column.name}: add it to inputs")
        expression = compiled(source, known)
        reads |= expression.reads
        feeds.append((column.name, _feed(column, source, expression)))
    return Inputs(tuple(feeds), frozenset(reads))


def compile_keys(
    asked: FeaturesStep | WriteBack, keys: Sequence[EntityKey], known: Environment, products: Collection[str]
) -> Inputs:
    """What feeds each key of an entity; `products` are the request fields that are known by the keys of the catalogue.

    Raises ExpressionError.
    """
    feeds: list[tuple[str, Feed]] = []
    reads: set[str] = set()
    sources = key_sources(asked, keys)
    for key in keys:
        source = sources[key.name]
        expression = compiled(source, known)
        reads |= expression.reads
        kind = "product" if source.strip() in products else key.type
        feeds.append((key.name, _feed(Column(name=key.name, type=kind), source, expression)))
    return Inputs(tuple(feeds), frozenset(reads))


def _feed(column: Column, source: str, expression: Expression) -> Feed:
    product = column.type == "product" or (column.items is not None and column.items.type == "product")
    if product and source.strip().startswith("request."):
        return partial(_keys, source.strip())
    if expression.per_candidate:
        return partial(_per_candidate, expression, DTYPES.get(column.type))
    if column.type == "number":
        return partial(_number, expression)
    return partial(_repeated, expression, DTYPES.get(column.type))


def _keys(field: str, query: Query, _scope: Scope, rows: int) -> Values:
    return [query.keys[field]] * rows


def _per_candidate(expression: Expression, dtype: Any, _query: Query, scope: Scope, _rows: int) -> Values:
    values: np.ndarray[Any, Any] = expression(scope)
    return values if dtype is None else values.astype(dtype, copy=False)


def _number(expression: Expression, _query: Query, scope: Scope, rows: int) -> Values:
    return np.full(rows, expression(scope), dtype=np.float64)


def _repeated(expression: Expression, dtype: Any, _query: Query, scope: Scope, rows: int) -> Values:
    value = expression(scope)
    return [value] * rows if dtype is None else np.full(rows, value, dtype=dtype)
