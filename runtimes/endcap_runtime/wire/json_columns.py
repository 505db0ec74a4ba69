# SPDX-License-Identifier: Apache-2.0
"""The plain JSON dialect: `{"columns": {name: [values]}}` or `{"rows": [{name: value}]}`, and back in the same form.

jiter reads, since it refuses doubled keys, unpaired surrogates and nesting beyond 200 levels; orjson writes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

import jiter
import numpy as np
import orjson

from endcap_runtime.wire.cells import Values
from endcap_runtime.wire.faults import CellError, InvalidColumns, Malformed

Form = Literal["columns", "rows"]


class Payload(NamedTuple):
    """The lists of values by column, unchecked, and the form in which they came."""

    form: Form
    columns: dict[str, Any]


def loads(body: bytes) -> Any:
    """A JSON value; raises Malformed for anything that RFC 8259 or a careful reader would refuse."""
    try:
        return jiter.from_json(body, allow_inf_nan=False, catch_duplicate_keys=True, cache_mode="keys")
    except ValueError as error:
        raise Malformed(f"The body is not valid JSON: {error}.") from error


def parse(body: bytes) -> Payload:
    """Raises Malformed unless the body is an object with exactly one of `columns` and `rows`."""
    value = loads(body)
    if type(value) is not dict or len(value) != 1:
        raise Malformed('The body must be {"columns": {…}} or {"rows": […]}.')
    if type(columns := value.get("columns")) is dict:
        return Payload("columns", columns)
    if type(rows := value.get("rows")) is list:
        return Payload("rows", transpose(rows))
    raise Malformed('The body must be {"columns": {name: [values]}} or {"rows": [{name: value}]}.')


def transpose(rows: list[Any]) -> dict[str, list[Any]]:
    """Rows as lists by column; raises InvalidColumns when a row lacks a column that another row has."""
    if not all(type(row) is dict for row in rows):
        raise Malformed("Each row must be an object of values by column name.")
    names = list(dict.fromkeys(name for row in rows for name in row))
    errors = [
        CellError(name, i, "missing") for i, row in enumerate(rows) for name in names if name not in row
    ]
    if errors:
        raise InvalidColumns(errors)
    return {name: [row[name] for row in rows] for name in names}


def dumps(head: Mapping[str, str], columns: Mapping[str, Values], form: Form) -> bytes:
    """An answer: the members of `head`, then the columns in the caller's form."""
    if form == "columns":
        return encode({**head, "columns": {name: listed(values) for name, values in columns.items()}})
    lists = {name: listed(values) for name, values in columns.items()}
    rows = [dict(zip(lists, row, strict=True)) for row in zip(*lists.values(), strict=True)]
    return encode({**head, "rows": rows})


def encode(value: Any) -> bytes:
    return orjson.dumps(value)


def listed(values: Values) -> list[Any]:
    return values.tolist() if isinstance(values, np.ndarray) else values
