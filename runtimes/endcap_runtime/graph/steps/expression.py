# SPDX-License-Identifier: Apache-2.0
"""Expressions as steps use them: most only name a value, and one without a value is a failure of its step."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from types import TracebackType
from typing import Any

import numpy as np

from endcap_api.expressions import Environment
from endcap_runtime.graph.columns import decoded
from endcap_runtime.graph.expressions import (
    Expression,
    ExpressionFailed,
    Scope,
    Unavailable,
    compile_expression,
)
from endcap_runtime.graph.expressions.scope import ZEROS
from endcap_runtime.graph.failures import StepFailed


@dataclass(frozen=True, slots=True)
class Reading:
    """Turns what an expression raises into StepFailed of `step`."""

    step: str

    def __enter__(self) -> None: ...

    def __exit__(
        self, _kind: type[BaseException] | None, error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        if isinstance(error, Unavailable):
            reason = f"reads {error.step}, which did not answer"
            raise StepFailed(self.step, "unavailable", reason) from None
        if isinstance(error, ExpressionFailed):
            raise StepFailed(self.step, "expression", str(error)) from None


def compiled(source: str, known: Environment) -> Expression:
    """Compiles; a bare name is read, and a constant known, without the ways of the language."""
    expression = compile_expression(source, known)
    if not expression.reads:
        return _constant(expression)
    name = source.strip()
    if name not in expression.reads:
        return expression
    if not expression.per_candidate:
        return replace(expression, evaluate=partial(_value, name))
    return replace(
        expression, evaluate=partial(_column, name.removeprefix("candidate."), ZEROS[expression.type])
    )


def _constant(expression: Expression) -> Expression:
    try:
        value = expression(Scope({}))
    except ExpressionFailed:
        return expression
    return replace(expression, evaluate=lambda _: value)


def _value(name: str, scope: Scope) -> Any:
    return scope.value(name)


def _column(name: str, zero: Any, scope: Scope) -> np.ndarray[Any, Any]:
    _, candidates = scope.with_candidates()
    values = decoded(scope.column(name, zero))
    return values if len(values) == len(candidates) else np.broadcast_to(values, len(candidates))
