# SPDX-License-Identifier: Apache-2.0
"""What has no form over columns is evaluated by the CEL library, a candidate at a time."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
from cel_expr_python import cel
from numpy.typing import NDArray

from endcap_api.expressions import Checked
from endcap_runtime.graph.columns import decoded, objects
from endcap_runtime.graph.expressions.scope import CANDIDATE, ExpressionFailed, Scope

_DTYPES: dict[str, Any] = {"int": np.int64, "double": np.float64, "bool": np.bool_}


class ByRow:
    """The library's own evaluation of a checked expression."""

    def __init__(self, checked: Checked, zeros: dict[str, Any]) -> None:
        self._program = checked.program
        self._type = checked.type
        columns = sorted(name for name in checked.reads if name.startswith(CANDIDATE))
        self._columns = {name: zeros.get(checked.variables[name]) for name in columns}
        self._values = sorted(checked.reads - set(columns))

    def once(self, scope: Scope) -> Any:
        """The value of an expression that does not read the candidate, as a Python value."""
        return _value(self._program.eval(data={name: scope.value(name) for name in self._values}))

    def over(self, scope: Scope) -> NDArray[Any]:
        """The value for each candidate, [n]."""
        data = {name: scope.value(name) for name in self._values}
        _, candidates = scope.with_candidates()
        columns = [self._plain(scope, name, len(candidates)) for name in self._columns]
        results = []
        for row in zip(*columns, strict=True):
            data.update(zip(self._columns, row, strict=True))
            results.append(_value(self._program.eval(data=data)))
            if time.monotonic() > scope.deadline:
                raise ExpressionFailed(
                    f"took too long: {len(results)} of {len(candidates)} candidates evaluated"
                )
        return np.array(results, dtype=_DTYPES[self._type]) if self._type in _DTYPES else objects(results)

    def _plain(self, scope: Scope, name: str, size: int) -> list[Any]:
        column = scope.column(name.removeprefix(CANDIDATE), self._columns[name])
        values: list[Any] = decoded(column).tolist()
        return values if len(values) == size else values * size


def _value(result: cel.Value) -> Any:
    if result.type() == cel.Type.ERROR:
        raise ExpressionFailed(str(result.value()).partition(": ")[2])
    return result.plain_value()
