# SPDX-License-Identifier: Apache-2.0
"""What a model may answer: the declared outputs, of their types, one value a row, all finite."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from endcap_api.v1alpha1.values import Column
from endcap_runtime.wire.cells import Array, Columns, Values, column_of
from endcap_runtime.wire.faults import InvalidColumns

_KINDS: Mapping[str, str] = {"number": "fiu", "integer": "iu", "boolean": "b"}
_DTYPES: Mapping[str, Any] = {"number": np.float64, "integer": np.int64, "boolean": np.bool_}


class InvalidOutputs(ValueError):
    """The answer of the model or of its hook is not what the ModelDeployment declares."""


def typed(schema: Sequence[Column], outputs: Any, rows: int) -> Columns:
    """The outputs in the schema's order and types; raises InvalidOutputs that names the output."""
    if not isinstance(outputs, Mapping):
        raise InvalidOutputs("the answer is not a mapping of columns by name")
    if extra := outputs.keys() - {column.name for column in schema}:
        raise InvalidOutputs(f"output {min(map(str, extra))} is not declared: declare it or leave it out")
    return {column.name: _typed(column, outputs, rows) for column in schema}


def _typed(column: Column, outputs: Mapping[str, Any], rows: int) -> Values:
    if column.name not in outputs:
        raise InvalidOutputs(f"output {column.name} is missing")
    values = outputs[column.name]
    if len(values) != rows:
        raise InvalidOutputs(f"output {column.name} has {len(values)} values for {rows} rows")
    return _scalar(column, values) if column.type in _KINDS else _listed(column, values)


def _scalar(column: Column, values: Any) -> Array:
    array = np.asarray(values)
    if array.ndim != 1 or array.dtype.kind not in _KINDS[column.type]:
        raise InvalidOutputs(f"output {column.name} is not one {column.type} a row")
    array = array.astype(_DTYPES[column.type], copy=False)
    if column.type == "number" and not np.isfinite(array).all():
        raise InvalidOutputs(f"output {column.name} has a value that is not finite")
    return array


def _listed(column: Column, values: Any) -> Values:
    """Text and arrays go the way of JSON: Python values, each checked."""
    plain = values.tolist() if isinstance(values, np.ndarray) else [_plain(value) for value in values]
    try:
        return column_of(column, plain)
    except InvalidColumns as error:
        raise InvalidOutputs(f"output {column.name}: {error.errors[0].message}") from error


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    return [_plain(element) for element in value] if isinstance(value, list | tuple) else value
