# SPDX-License-Identifier: Apache-2.0
"""What has no form over columns is evaluated by the CEL library: once when it does not read the candidate, else a
candidate at a time. Only such parts are: the rest of their expression stays on columns.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import numpy as np
from cel_expr_python import cel

from endcap_api.expressions import Checked
from endcap_runtime.graph.columns import Words, constant, decoded
from endcap_runtime.graph.expressions.scope import CANDIDATE, ZEROS, ExpressionFailed, Scope
from endcap_runtime.graph.expressions.vector import Vector, fault_where

_DTYPES: dict[str, Any] = {"int": np.int64, "double": np.float64, "bool": np.bool_}
_ERROR = cel.Type.ERROR


class Library:
    """The library's own evaluation of a checked expression, or of a part of one."""

    def __init__(self, checked: Checked) -> None:
        self._program = checked.program
        self._type = checked.type
        columns = sorted(name for name in checked.reads if name.startswith(CANDIDATE))
        self._zeros = {name: ZEROS.get(checked.variables[name]) for name in columns}
        self._values = sorted(checked.reads - set(columns))

    def value(self, scope: Scope) -> Any:
        """The Python value of an expression that does not read the candidate. Raises ExpressionFailed."""
        value, wrong = self._evaluated(self._read(scope))
        if wrong is not None:
            raise ExpressionFailed(wrong)
        return value

    def once(self, scope: Scope) -> Vector:
        """The same, for all candidates: [1], or a list."""
        value, wrong = self._evaluated(self._read(scope))
        fault = fault_where(np.array([wrong is not None]), wrong or "")
        if self._type not in ZEROS:
            return Vector([] if fault else value, fault)
        return Vector(constant(ZEROS[self._type] if fault else value), fault)

    def over(self, scope: Scope) -> Vector:
        """The value for each candidate, [n]. Raises ExpressionFailed when the deadline of the scope passes."""
        results = list(self._results(scope))
        wrong = [why for _, why in results if why is not None]
        fault = fault_where(
            np.array([why is not None for _, why in results], dtype=np.bool_), next(iter(wrong), "")
        )
        values = [ZEROS[self._type] if why is not None else value for value, why in results]
        return Vector(
            Words.of(values) if self._type == "string" else np.array(values, _DTYPES[self._type]), fault
        )

    def _read(self, scope: Scope) -> dict[str, Any]:
        return {name: scope.value(name) for name in self._values}

    def _results(self, scope: Scope) -> Iterator[tuple[Any, str | None]]:
        data = self._read(scope)
        _, candidates = scope.with_candidates()
        columns = [self._plain(scope, name, len(candidates)) for name in self._zeros]
        for row in zip(*columns, strict=True):
            if time.monotonic() > scope.deadline:
                raise ExpressionFailed("takes too long for so many candidates")
            data.update(zip(self._zeros, row, strict=True))
            yield self._evaluated(data)

    def _plain(self, scope: Scope, name: str, size: int) -> list[Any]:
        column = scope.column(name.removeprefix(CANDIDATE), self._zeros[name])
        values: list[Any] = decoded(column).tolist()
        return values if len(values) == size else values * size

    def _evaluated(self, data: dict[str, Any]) -> tuple[Any, str | None]:
        """The value, or why there is none."""
        try:
            result = self._program.eval(data=data)
        except RuntimeError as error:  # the library's budget of iterations, and strings that are no Unicode
            return None, _reason(str(error))
        if result.type() == _ERROR:
            return None, _reason(str(result.value()))
        return result.plain_value(), None


def _reason(status: str) -> str:
    """`INVALID_ARGUMENT: divide by zero` without the library's own code."""
    return status.partition(": ")[2] or status
