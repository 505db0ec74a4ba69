# SPDX-License-Identifier: Apache-2.0
"""From the text of an expression to a function over columns."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from endcap_api.expressions import Checked, Environment
from endcap_runtime.graph.columns import decoded
from endcap_runtime.graph.expressions.by_row import ByRow
from endcap_runtime.graph.expressions.scope import ExpressionFailed, Scope
from endcap_runtime.graph.expressions.translate import ZEROS, NotVectorised, silent, translate
from endcap_runtime.graph.expressions.vector import Evaluate, Vector


@dataclass(frozen=True, slots=True)
class Expression:
    """A type-checked expression.

    reads: the dotted names it reads, e.g. `request.cart`, `candidate.category`, `candidate.together.score`,
    `intent.name`. type: its CEL type. per_candidate: whether it reads the candidate, so that it has a value for each.
    vectorised: whether it is evaluated over columns; if not, the CEL library evaluates it a candidate at a time.
    """

    source: str
    type: str
    reads: frozenset[str]
    per_candidate: bool
    vectorised: bool
    evaluate: Callable[[Scope], Any]

    def __call__(self, scope: Scope) -> Any:
        """Value [n] (bool, int64, float64 or object array) when per_candidate, else one Python value.

        Raises ExpressionFailed when it has no value for some candidate, Unavailable when it reads a step that did
        not answer.
        """
        return self.evaluate(scope)


def compile_expression(source: str, environment: Environment, *expected: str) -> Expression:
    """Check, for the `expected` CEL types if any are given, and compile. Raises endcap_api's ExpressionError."""
    checked = environment.check(source, *expected)
    over_columns = _over_columns(checked) if checked.per_candidate else None
    evaluate = over_columns or _by_library(checked)
    return Expression(
        source, checked.type, checked.reads, checked.per_candidate, over_columns is not None, evaluate
    )


def _by_library(checked: Checked) -> Callable[[Scope], Any]:
    by_row = ByRow(checked, ZEROS)
    return by_row.over if checked.per_candidate else by_row.once


def _over_columns(checked: Checked) -> Callable[[Scope], NDArray[Any]] | None:
    if checked.type not in ZEROS:
        return None
    try:
        evaluate = translate(checked.tree)
    except NotVectorised:
        return None
    return lambda scope: _column(evaluate, scope)


def _column(evaluate: Evaluate, scope: Scope) -> NDArray[Any]:
    _, candidates = scope.with_candidates()
    with silent():
        values = _definite(evaluate(scope), len(candidates))
    return values if len(values) == len(candidates) else np.broadcast_to(values, len(candidates))


def _definite(vector: Vector, size: int) -> NDArray[Any]:
    if vector.fault is not None and size:
        raise ExpressionFailed(vector.fault.message)
    return decoded(vector.values)
