# SPDX-License-Identifier: Apache-2.0
"""The two dialects of a prediction: bytes to checked inputs, and outputs to bytes.

Inputs are checked here, before they join a batch, so that a wrong row is answered 422 and never reaches the rows
of others.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple, Protocol

from endcap_runtime.asgi import Headers, Response
from endcap_runtime.model.job import Inputs
from endcap_runtime.model.served import Served
from endcap_runtime.problems import MEDIA_TYPE, FieldError, Problem
from endcap_runtime.wire import json_columns, oip
from endcap_runtime.wire.cells import Columns, columns_of, count_rows, matrix_reader
from endcap_runtime.wire.faults import CellError, InvalidColumns, Malformed
from endcap_runtime.wire.tensor_columns import columns_from, matrix_from, tensors_of

WRONG_COLUMNS = "Some columns do not fit this model."
Encode = Callable[[Columns], Response]


class Asked(NamedTuple):
    """A request that was read: its inputs, how many rows, and how its outputs are to be written."""

    inputs: Inputs
    rows: int
    encode: Encode


class Dialect(Protocol):
    @property
    def name(self) -> str: ...

    @property
    def media_types(self) -> tuple[bytes, ...]: ...

    def read(self, body: bytes, headers: Headers) -> Asked: ...

    def refuse(self, problem: Problem) -> Response: ...


def _rows(inputs: Inputs) -> int:
    return count_rows(inputs) if isinstance(inputs, Mapping) else len(inputs)


class PlainJson:
    """`{"columns": …}` or `{"rows": …}`; errors are RFC 9457 problem details."""

    name = "json"
    media_types = (b"application/json",)

    def __init__(self, served: Served) -> None:
        self._inputs: Callable[[Mapping[str, Any]], Inputs] = (
            matrix_reader(served.inputs) if served.takes_matrix else partial(columns_of, served.inputs)
        )
        self._head = {"model": served.name, "version": served.version}

    def read(self, body: bytes, headers: Headers) -> Asked:  # noqa: ARG002 the other dialect needs them
        """Raises Problem 400 or 422, naming columns and rows as the caller wrote them."""
        payload = self._parse(body)
        try:
            inputs = self._inputs(payload.columns)
        except InvalidColumns as wrong:
            raise self._wrong(wrong, payload.form) from wrong
        return Asked(inputs, _rows(inputs), lambda columns: self._answer(columns, payload.form))

    def _parse(self, body: bytes) -> json_columns.Payload:
        try:
            return json_columns.parse(body)
        except Malformed as error:
            raise Problem(400, str(error)) from error
        except InvalidColumns as wrong:
            raise self._wrong(wrong, "rows") from wrong

    def _wrong(self, wrong: InvalidColumns, form: json_columns.Form) -> Problem:
        return Problem(
            422, WRONG_COLUMNS, [FieldError(_field(error, form), error.message) for error in wrong.errors]
        )

    def _answer(self, columns: Columns, form: json_columns.Form) -> Response:
        return Response(200, json_columns.dumps(self._head, columns, form))

    def refuse(self, problem: Problem) -> Response:
        return Response(problem.status, problem.body(), MEDIA_TYPE, problem.headers)


def _field(error: CellError, form: json_columns.Form) -> str:
    if error.row is None:
        return error.column
    return f"rows[{error.row}].{error.column}" if form == "rows" else f"columns.{error.column}[{error.row}]"


class OpenInference:
    """The Open Inference Protocol v2, JSON and binary; errors are `{"error": "…"}`."""

    name = "oip"
    media_types = (b"application/json", b"application/octet-stream")

    def __init__(self, served: Served) -> None:
        self._served = served
        self._values: Callable[[Sequence[Any], Sequence[Any]], Inputs] = (
            matrix_from if served.takes_matrix else columns_from
        )
        self._names = [column.name for column in served.outputs]

    def read(self, body: bytes, headers: Headers) -> Asked:
        """Raises Problem 400 or 422."""
        try:
            request = oip.parse_request(body, oip.head_length(headers.get(oip.LENGTH_HEADER), body))
            wanted = self._wanted(request)
            inputs = self._values(self._served.inputs, request.inputs)
        except Malformed as error:
            raise Problem(400, str(error)) from error
        except InvalidColumns as wrong:
            raise Problem(
                422, WRONG_COLUMNS, [FieldError(_tensor(e), e.message) for e in wrong.errors]
            ) from wrong
        return Asked(inputs, _rows(inputs), lambda columns: self._answer(columns, request.id, wanted))

    def _wanted(self, request: oip.InferRequest) -> dict[str, bool]:
        """Whether each wanted output is to be binary."""
        if request.wanted is None:
            return dict.fromkeys(self._names, request.binary)
        for output in request.wanted:
            if output.name not in self._names:
                raise Malformed(f"The model has no such output; its outputs are {', '.join(self._names)}.")
        return {output.name: output.binary for output in request.wanted}

    def _answer(self, columns: Columns, request_id: str | None, wanted: dict[str, bool]) -> Response:
        schema = [column for column in self._served.outputs if column.name in wanted]
        tensors = tensors_of(schema, columns)
        binary = [wanted[tensor.name.partition(".")[0]] for tensor in tensors]
        message = oip.response(self._head(request_id), tensors, binary)
        media_type = b"application/json" if message.head is None else b"application/octet-stream"
        return Response(200, message.body, media_type, message.headers)

    def _head(self, request_id: str | None) -> dict[str, str]:
        head = {"model_name": self._served.name, "model_version": self._served.version}
        return head if request_id is None else head | {"id": request_id}

    def refuse(self, problem: Problem) -> Response:
        return Response(problem.status, oip_error(problem.sentence()), headers=problem.headers)


def oip_error(message: str) -> bytes:
    return json_columns.encode({"error": message})


def _tensor(error: CellError) -> str:
    return error.column if error.row is None else f"{error.column}[{error.row}]"
