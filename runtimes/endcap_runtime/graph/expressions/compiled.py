# SPDX-License-Identifier: Apache-2.0
"""From the text of an expression to a function over columns."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from endcap_api.cel_ast import Node
from endcap_api.expressions import Checked, Environment, ExpressionError
from endcap_runtime.graph.columns import decoded
from endcap_runtime.graph.expressions.library import Library
from endcap_runtime.graph.expressions.scope import ZEROS, ExpressionFailed, Scope
from endcap_runtime.graph.expressions.translate import NotVectorised, Translation, silent
from endcap_runtime.graph.expressions.vector import Evaluate, Vector


@dataclass(frozen=True, slots=True)
class Expression:
    """A type-checked expression.

    reads: the dotted names it reads, e.g. `request.cart`, `candidate.category`, `candidate.together.score`,
    `intent.name`. type: its CEL type. per_candidate: whether it reads the candidate, so that it has a value for each.
    vectorised: whether all of it is evaluated over columns; if not, the CEL library evaluates parts of it for each
    candidate.
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
    if not checked.per_candidate:
        value = Library(checked).value
        return Expression(
            source, checked.type, checked.reads, per_candidate=False, vectorised=False, evaluate=value
        )
    if checked.type not in ZEROS:
        raise ExpressionError(
            f"`{source}` is {checked.type}, and a candidate's value is one of {', '.join(ZEROS)}"
        )
    parts = _Parts(environment, checked)
    evaluate = partial(_column, Translation(parts)(checked.tree))
    vectorised = not parts.by_candidate
    return Expression(source, checked.type, checked.reads, True, vectorised, evaluate)  # noqa: FBT003


class _Parts:
    """The parts of an expression that the library evaluates."""

    def __init__(self, environment: Environment, whole: Checked) -> None:
        self._environment = environment
        self._whole = whole
        self.by_candidate = False

    def __call__(self, node: Node) -> Evaluate:
        part = self._environment.part(self._whole, node)
        if not part.per_candidate and (part.type in ZEROS or part.type.startswith("list(")):
            return Library(part).once
        if part.type not in ZEROS:
            raise NotVectorised
        self.by_candidate = True
        return Library(part).over


def _column(evaluate: Evaluate, scope: Scope) -> NDArray[Any]:
    _, candidates = scope.with_candidates()
    with silent():
        values = _definite(evaluate(scope), len(candidates))
    return values if len(values) == len(candidates) else np.broadcast_to(values, len(candidates))


def _definite(vector: Vector, size: int) -> NDArray[Any]:
    if vector.fault is not None and size:
        raise ExpressionFailed(vector.fault.message)
    return decoded(vector.values)
