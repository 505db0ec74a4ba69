# SPDX-License-Identifier: Apache-2.0
"""How far two ways to do a step agree: of orders by their first places and by their whole, of values by equality."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import isclose
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from endcap_api.runtime_config import GraphConfig
from endcap_api.v1alpha1.steps import Step
from endcap_runtime.graph.query import Query

FIRST = 10
_DIGITS = 1e-9
_FEWEST = 2

Rows = NDArray[np.int32]


class Agreed(NamedTuple):
    """overlap: of the first ten, 0 to 1. correlation: Spearman's, of the ranks of those in both, -1 to 1."""

    overlap: float
    correlation: float


SAME, OTHER = Agreed(1.0, 1.0), Agreed(0.0, 0.0)
Compare = Callable[[Query, Query], Agreed]  # of the query as the baseline left it, and as the variant did


def of_orders(one: Rows, other: Rows) -> Agreed:
    """Of distinct rows in order, best first."""
    return Agreed(_overlap(one, other), _correlation(one, other))


def _overlap(one: Rows, other: Rows) -> float:
    """The share of the first ten, or of as many as the longer order has."""
    most = min(FIRST, max(len(one), len(other)))
    if not most:
        return 1.0
    return len(set(one[:most].tolist()).intersection(other[:most].tolist())) / most


def _correlation(one: Rows, other: Rows) -> float:
    """One alone in common has no order to differ in, and none is no agreement."""
    _, places, others = np.intersect1d(one, other, assume_unique=True, return_indices=True)
    count = len(places)
    if count < _FEWEST:
        return float(count or not len(one) + len(other))
    apart = _ranks(places) - _ranks(others)
    return 1.0 - 6.0 * float(np.dot(apart, apart)) / (count * (count * count - 1.0))


def _ranks(places: NDArray[np.intp]) -> NDArray[np.float64]:
    """Of distinct places, [n]."""
    ranks = np.empty(len(places))
    ranks[np.argsort(places)] = np.arange(len(places))
    return ranks


def compare_of(config: GraphConfig, step: Step) -> Compare:
    """What is compared of a step: the order of candidates, those that were found, or what a model said."""
    if step.rank:
        return _candidates
    if step.model:
        outputs = config.models[step.model.model].outputs
        names = [f"{step.identifier}.{output.name}" for output in outputs]
        return lambda one, other: _values(names, one.values, other.values)
    return lambda one, other: of_orders(_found(step.name, one), _found(step.name, other))


def _candidates(one: Query, other: Query) -> Agreed:
    if one.candidates is None or other.candidates is None:
        return SAME if one.candidates is other.candidates else OTHER
    return of_orders(one.candidates.rows, other.candidates.rows)


def _found(step: str, query: Query) -> Rows:
    """What the catalogue knows of it, each at its first place."""
    rows = query.recalled[step].rows
    known = rows[rows >= 0]
    _, first = np.unique(known, return_index=True)
    return known[np.sort(first)]


def _values(names: Sequence[str], one: Mapping[str, object], other: Mapping[str, object]) -> Agreed:
    return SAME if all(_equal(one.get(name), other.get(name)) for name in names) else OTHER


def _equal(one: Any, other: Any) -> bool:
    """Numbers to nine digits: two servers may add up the same in another order."""
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_equal, one, other))
    if isinstance(one, float) and isinstance(other, float):
        return isclose(one, other, rel_tol=_DIGITS, abs_tol=0.0)
    return bool(one == other)
