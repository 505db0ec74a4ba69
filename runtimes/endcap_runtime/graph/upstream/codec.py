# SPDX-License-Identifier: Apache-2.0
"""Columns as a request body, and a response body as columns that are what the contract says.

Scalars travel as binary tensors of the Open Inference Protocol (a memory copy); a model with array columns is asked in
JSON, since the protocol has no ragged tensor. What comes back is checked here once, so that no step meets a missing
column, a wrong length or a NaN.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np

from endcap_api.runtime_config import ModelContract
from endcap_api.v1alpha1.values import Column
from endcap_runtime.graph.upstream.connection import Response
from endcap_runtime.graph.upstream.failures import UpstreamFailed
from endcap_runtime.wire import json_columns, oip
from endcap_runtime.wire.cells import KINDS, Columns, Values, columns_of, count_rows
from endcap_runtime.wire.faults import InvalidColumns, Malformed
from endcap_runtime.wire.tensor_columns import columns_from, tensors_of
from endcap_runtime.wire.tensors import Tensor

Given = Mapping[str, Any]


class Body(NamedTuple):
    """A request body and the headers that describe it."""

    content: bytes
    headers: bytes


class Codec(Protocol):
    """One dialect of the model servers; `path` is where it is spoken."""

    path: str

    def encode(self, columns: Columns) -> Body: ...

    def decode(self, response: Response) -> Columns:
        """Raises Malformed or InvalidColumns."""
        ...


class Tensors:
    """Binary tensors of the Open Inference Protocol v2: one a column, or one matrix when every input is a number."""

    def __init__(self, name: str, contract: ModelContract) -> None:
        self.path = f"/v2/models/{name}/infer"
        self._inputs = contract.inputs
        self._outputs = contract.outputs
        self._wanted = [column.name for column in contract.outputs]
        numbers = len(self._inputs) > 1 and all(column.type == "number" for column in self._inputs)
        self._tensors = self._matrix if numbers else self._each

    def encode(self, columns: Columns) -> Body:
        body, head = oip.request(self._tensors(columns), self._wanted)
        described = b"content-type: application/octet-stream\r\n%s: %d\r\n" % (oip.LENGTH_HEADER, head or 0)
        return Body(body, described)

    def _each(self, columns: Columns) -> list[Tensor]:
        return tensors_of(self._inputs, columns)

    def _matrix(self, columns: Columns) -> list[Tensor]:
        matrix = np.array([columns[column.name] for column in self._inputs], dtype=np.float64).T
        return [Tensor("columns", "FP64", matrix.shape, matrix)]

    def decode(self, response: Response) -> Columns:
        head = oip.head_length(response.headers.get(oip.LENGTH_HEADER), response.body)
        return columns_from(self._outputs, oip.parse_response(response.body, head))


class Json:
    """Plain JSON by column name."""

    path = "/predict"

    def __init__(self, contract: ModelContract) -> None:
        self._outputs = contract.outputs

    def encode(self, columns: Columns) -> Body:
        return Body(json_columns.dumps({}, columns, "columns"), b"content-type: application/json\r\n")

    def decode(self, response: Response) -> Columns:
        answer = json_columns.loads(response.body)
        columns = answer.get("columns") if isinstance(answer, dict) else None
        if not isinstance(columns, dict):
            raise Malformed('The answer must be {"columns": {…}}.')
        return columns_of(self._outputs, columns)


def codec_of(name: str, contract: ModelContract) -> Codec:
    """The dialect in which a model is asked."""
    arrays = any(column.items for column in [*contract.inputs, *contract.outputs])
    return Json(contract) if arrays else Tensors(name, contract)


def decoded(codec: Codec, response: Response, rows: int) -> Columns:
    """The outputs [rows] of a response. Raises UpstreamFailed."""
    if response.status != 200:  # noqa: PLR2004
        raise UpstreamFailed("status", f"answered {response.status}", response.status)
    try:
        columns = codec.decode(response)
        found = count_rows(columns)
        _check_arrays(columns)
    except (Malformed, InvalidColumns) as error:
        raise UpstreamFailed(
            "malformed", f"gave an answer that breaks its contract: {error}"[:500]
        ) from error
    if found != rows:
        raise UpstreamFailed("malformed", f"answered {found} rows for {rows}")
    return columns


def _check_arrays(columns: Columns) -> None:
    """The arrays of one row stand beside each other: the n-th score is that of the n-th item."""
    arrays = {name: values for name, values in columns.items() if isinstance(values, list)}
    for row, cells in enumerate(zip(*arrays.values(), strict=True)):
        if len(set(map(len, cells))) > 1:
            raise Malformed(f"Row {row} has arrays of different lengths: {', '.join(sorted(arrays))}.")


def typed(schema: Sequence[Column], given: Given, rows: int) -> Columns:
    """Inputs in the form of the wire: arrays of the declared type, or lists of lists. Raises ValueError."""
    if missing := [column.name for column in schema if column.name not in given]:
        raise ValueError(f"input {missing[0]} is missing")
    columns = {column.name: _values(column, given[column.name]) for column in schema}
    if wrong := [name for name, values in columns.items() if len(values) != rows]:
        raise ValueError(f"input {wrong[0]} has {len(columns[wrong[0]])} values for {rows} rows")
    return columns


def _values(column: Column, values: Any) -> Values:
    if column.items is not None:
        return values if isinstance(values, list) else list(values)
    return np.asarray(values, dtype=KINDS[column.type].dtype)


def stacked(schema: Sequence[Column], parts: Sequence[Columns]) -> Columns:
    """The rows of several calls below each other."""
    return {column.name: _stacked([part[column.name] for part in parts]) for column in schema}


def _stacked(parts: list[Values]) -> Values:
    if isinstance(parts[0], list):
        return [row for part in parts for row in part]
    return np.concatenate(parts)


def part_of(columns: Mapping[str, Values], start: int, end: int) -> Columns:
    """The rows of one call out of those of several."""
    return {name: values[start:end] for name, values in columns.items()}
