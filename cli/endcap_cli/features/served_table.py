# SPDX-License-Identifier: Apache-2.0
"""Rows of the serving log as a table whose schema does not depend on what happened to be served, so that the files of
different days can be read as one. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa

from endcap_api.features_config import BundleContract
from endcap_cli.terminal import CommandError

HEAD: Mapping[str, pa.DataType] = {
    "request_id": pa.string(),
    "time": pa.timestamp("us", "UTC"),
    "graph": pa.string(),
    "revision": pa.string(),
    "row": pa.int64(),
}
_TYPES = {"string": pa.string(), "integer": pa.int64(), "number": pa.float64(), "boolean": pa.bool_()}
Types = Mapping[str, pa.DataType]


def types_of(records: Iterable[Mapping[str, Any]], bundles: Mapping[str, BundleContract]) -> Types:
    """The types of the columns of `rows_of`, as far as the bundles that were served are among these."""
    types: dict[str, pa.DataType] = {}
    for record in records:
        for served in record["served"]:
            for name, found in _types(served["step"], bundles.get(served["bundle"])):
                types.setdefault(name, found)
    return types


def _types(step: str, bundle: BundleContract | None) -> Iterator[tuple[str, pa.DataType]]:
    for key in bundle.keys if bundle else ():
        yield f"{step}.{key.name}", _TYPES[key.type]
    for column in bundle.columns if bundle else ():
        found = pa.list_(_TYPES[column.items]) if column.items else _TYPES[column.type]
        yield f"{step}.{column.name}", found
        yield f"{step}.{column.name}.status", pa.string()


def table(rows: Sequence[Mapping[str, Any]], types: Types) -> pa.Table:
    """All columns that any row has, those of the request first and the others by name; a row that lacks one has a
    null there. A column without a type has that of its values, text where there are none. Raises CommandError.
    """
    others = sorted({name for row in rows for name in row} - HEAD.keys())
    known = {**types, **HEAD}
    return pa.table(
        {name: _column(name, [row.get(name) for row in rows], known.get(name)) for name in (*HEAD, *others)}
    )


def _column(name: str, values: Sequence[Any], wanted: pa.DataType | None) -> pa.Array:
    try:
        return pa.array(values, wanted) if wanted else _inferred(values)
    except pa.ArrowException as error:
        what = (
            f"does not fit {wanted}, its type in the definitions" if wanted else "has values of several types"
        )
        remedy = "write JSON lines, which take any, or fetch single requests with --request"
        raise CommandError(f"{name} {what} ({error}): {remedy}") from None


def _inferred(values: Sequence[Any]) -> pa.Array:
    found = pa.array(values)
    if pa.types.is_null(found.type):
        return found.cast(pa.string())
    if pa.types.is_list(found.type) and pa.types.is_null(found.type.value_type):
        return found.cast(pa.list_(pa.string()))
    return found
