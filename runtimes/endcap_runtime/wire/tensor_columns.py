# SPDX-License-Identifier: Apache-2.0
"""Between the tensors of the Open Inference Protocol and typed columns.

A scalar column is one tensor of shape [N] or [N, 1]. An array column is one tensor [N, M] when its rows are equally
long; rows of different lengths travel flat, as [T], with the lengths in a second tensor `<name>.lengths`, INT64
[N], since the protocol has no ragged tensor.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import accumulate, chain, pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from endcap_api.v1alpha1.values import Column
from endcap_runtime.wire.cells import Array, Columns, Values, check_names, count_rows, stack
from endcap_runtime.wire.faults import CellError, InvalidColumns
from endcap_runtime.wire.tensors import Tensor

LENGTHS = ".lengths"
DATATYPES: Mapping[str, str] = {
    "number": "FP64", "integer": "INT64", "boolean": "BOOL", "string": "BYTES", "product": "BYTES",
}  # fmt: skip
_KINDS: Mapping[str, str] = {"number": "fiu", "integer": "iu", "boolean": "b", "string": "O", "product": "O"}


def metadata_of(column: Column) -> dict[str, Any]:
    """The column's name, datatype and shape as the protocol's model metadata has them."""
    kind, shape = (column.items.type, [-1, -1]) if column.items else (column.type, [-1])
    return {"name": column.name, "datatype": DATATYPES[kind], "shape": shape}


def columns_from(schema: Sequence[Column], tensors: Sequence[Tensor]) -> Columns:
    """Typed columns in the schema's order; raises InvalidColumns that names each wrong column."""
    if (one := _one_matrix(schema, tensors)) is not None:
        return {column.name: _scalar(column, _one_column(one, index)) for index, column in enumerate(schema)}
    given = {tensor.name: tensor for tensor in tensors}
    ragged = {c.name + LENGTHS for c in schema if c.items is not None} & given.keys()
    check_names(schema, {name: tensor for name, tensor in given.items() if name not in ragged})
    columns = {c.name: _column(c, given[c.name], given.get(c.name + LENGTHS)) for c in schema}
    count_rows(columns)
    return columns


def matrix_from(schema: Sequence[Column], tensors: Sequence[Tensor]) -> NDArray[np.float64]:
    """The same as a float64 matrix [N, K] in the schema's order, for a schema of numbers."""
    one = _one_matrix(schema, tensors)
    if one is not None and one.data.dtype == np.float64 and np.isfinite(one.data).all():
        return one.data
    return stack(columns_from(schema, tensors))


def _one_matrix(schema: Sequence[Column], tensors: Sequence[Tensor]) -> Tensor | None:
    """The only tensor, where it holds every column of a schema of numbers side by side."""
    if len(tensors) != 1 or any(column.type != "number" for column in schema):
        return None
    tensor = tensors[0]
    named = len(schema) == 1 and tensor.name == schema[0].name
    fits = tensor.shape[1:] == (len(schema),) and tensor.shape[0] > 0
    return tensor if fits and not named else None


def _one_column(matrix: Tensor, index: int) -> Tensor:
    return matrix._replace(shape=matrix.shape[:1], data=matrix.data[:, index])


def _column(column: Column, tensor: Tensor, lengths: Tensor | None) -> Values:
    if column.items is None:
        return _scalar(column, tensor)
    if lengths is not None:
        return _ragged(column, column.items.type, tensor, lengths)
    if len(tensor.shape) != len(("rows", "elements")):
        raise _wrong(
            column, f"expected a tensor of shape [N, M], or [T] with a tensor {column.name}{LENGTHS}"
        )
    rows: list[list[Any]] = _typed(column, column.items.type, tensor).reshape(tensor.shape).tolist()
    return rows


def _scalar(column: Column, tensor: Tensor) -> Array:
    if tensor.shape[1:] not in ((), (1,)):
        raise _wrong(column, "expected a tensor of shape [N] or [N, 1]")
    return _typed(column, column.type, tensor)


def _ragged(column: Column, kind: str, tensor: Tensor, lengths: Tensor) -> list[list[Any]]:
    counts, size = lengths.data.ravel(), tensor.data.size
    if lengths.datatype != "INT64" or ((counts < 0) | (counts > size)).any() or int(counts.sum()) != size:
        raise _wrong(column, f"{column.name}{LENGTHS} must be INT64, and its sum the number of elements")
    flat = _typed(column, kind, tensor).tolist()
    return [flat[start:end] for start, end in pairwise(accumulate(counts.tolist(), initial=0))]


def _typed(column: Column, kind: str, tensor: Tensor) -> Array:
    """The tensor's elements, flat, in the column's own numpy type."""
    data = tensor.data.ravel()
    if data.dtype.kind not in _KINDS[kind]:
        raise _wrong(column, f"expected datatype {DATATYPES[kind]}, got {tensor.datatype}")
    match kind:
        case "number":
            return _finite(column, data.astype(np.float64, copy=False))
        case "integer":
            return _int64(column, data)
        case "boolean":
            return data
    return _decoded(column, data)


def _finite(column: Column, data: Array) -> Array:
    if (bad := np.flatnonzero(~np.isfinite(data))).size:
        raise InvalidColumns(
            [
                CellError(column.name, int(row), "expected a finite number, got one that is not")
                for row in bad[:20]
            ]
        )
    return data


def _int64(column: Column, data: Array) -> Array:
    if data.dtype == np.uint64 and (data > np.uint64(2**63 - 1)).any():
        raise _wrong(column, "expected integers of 64 bits, got one that is larger")
    return data.astype(np.int64, copy=False)


def _decoded(column: Column, data: Array) -> Array:
    texts = np.empty(data.size, dtype=object)
    for row, element in enumerate(data.tolist()):
        try:
            texts[row] = element.decode()
        except UnicodeDecodeError as error:
            raise InvalidColumns([CellError(column.name, row, "is not valid UTF-8")]) from error
    return texts


def _wrong(column: Column, message: str) -> InvalidColumns:
    return InvalidColumns([CellError(column.name, None, message)])


def tensors_of(schema: Sequence[Column], columns: Mapping[str, Values]) -> list[Tensor]:
    """Typed columns as tensors; rows of different lengths become two of them."""
    return [tensor for column in schema for tensor in _tensors(column, columns[column.name])]


def _tensors(column: Column, values: Values) -> list[Tensor]:
    if column.items is None:
        return [_flat_tensor(column.name, column.type, values, (len(values),))]
    lengths = [len(row) for row in values]
    flat = list(chain.from_iterable(values))
    if len(set(lengths)) == 1:
        return [_flat_tensor(column.name, column.items.type, flat, (len(lengths), lengths[0]))]
    return [
        _flat_tensor(column.name, column.items.type, flat, (len(flat),)),
        Tensor(column.name + LENGTHS, "INT64", (len(lengths),), np.array(lengths, dtype=np.int64)),
    ]


_DTYPES: Mapping[str, Any] = {"FP64": np.float64, "INT64": np.int64, "BOOL": np.bool_}


def _flat_tensor(name: str, kind: str, values: Any, shape: tuple[int, ...]) -> Tensor:
    datatype = DATATYPES[kind]
    if datatype != "BYTES":
        return Tensor(name, datatype, shape, np.asarray(values, dtype=_DTYPES[datatype]).reshape(shape))
    data = np.empty(len(values), dtype=object)
    data[:] = [text.encode() for text in values]
    return Tensor(name, datatype, shape, data.reshape(shape))
