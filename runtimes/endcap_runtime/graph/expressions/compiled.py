# SPDX-License-Identifier: Apache-2.0
"""From the text of an expression to a function over columns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from endcap_runtime.graph.expressions.scope import Scope

if TYPE_CHECKING:
    from endcap_api.expressions import Environment


@dataclass(frozen=True, slots=True)
class Expression:
    """A type-checked expression.

    reads: the dotted names it reads, e.g. `request.cart`, `candidate.category`, `candidate.together.score`,
    `intent.name`. per_candidate: whether it reads the candidate, so that it has a value for each of them.
    """

    source: str
    reads: frozenset[str]
    per_candidate: bool

    def __call__(self, scope: Scope) -> Any:
        """Value [n] (bool, int64, float64 or object array) when per_candidate, else one Python value.

        Raises ExpressionFailed when it has no value for some candidate, Unavailable when it reads a step that did
        not answer.
        """
        raise NotImplementedError


def compile_expression(source: str, environment: Environment) -> Expression:
    """Check and compile. Raises endcap_api.expressions.ExpressionError with the position of the fault."""
    raise NotImplementedError
