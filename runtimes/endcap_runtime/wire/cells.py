# SPDX-License-Identifier: Apache-2.0
"""Python lists, as JSON gives them, into typed arrays: one fast check a column, and an explanation when it fails."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from endcap_api.v1alpha1.values import Column
from endcap_runtime.wire.faults import CellError, InvalidColumns

Array = NDArray[Any]
Values = Array | list[list[Any]]
Columns = dict[str, Values]

INT64_MIN, INT64_MAX = -(2**63), 2**63 - 1
_JSON_NAMES: Mapping[type, str] = {
    str: "a string", bool: "a boolean", int: "an integer", float: "a number",
    list: "an array", dict: "an object", type(None): "null",
}  # fmt: skip


class Kind(NamedTuple):
    """A scalar type: the Python types that carry it, its numpy type, and what a wrong value is told."""

    wanted: str
    types: frozenset[type]
    dtype: Any
    accepts: Callable[[Any], bool]
    convert: Callable[[Any], Any]


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and _finite(value)


def _finite(value: float) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:
        return False


def _is_integer(value: Any) -> bool:
    whole = type(value) is int or (type(value) is float and value.is_integer())
    return whole and INT64_MIN <= value <= INT64_MAX


def _is_boolean(value: Any) -> bool:
    return type(value) is bool


def _is_text(value: Any) -> bool:
    return type(value) is str


_TEXT = Kind("a string", frozenset({str}), object, _is_text, str)
KINDS: Mapping[str, Kind] = {
    "number": Kind("a finite number", frozenset({int, float}), np.float64, _is_number, float),
    "integer": Kind("an integer of 64 bits", frozenset({int}), np.int64, _is_integer, int),
    "boolean": Kind("a boolean", frozenset({bool}), np.bool_, _is_boolean, bool),
    "string": _TEXT,
    "product": _TEXT,
}


def column_of(column: Column, values: Any) -> Values:
    """A JSON list as the column's values; raises InvalidColumns that names the column and the rows."""
    if type(values) is not list:
        raise InvalidColumns(
            [CellError(column.name, None, f"expected an array of rows, got {_name(values)}")]
        )
    if column.items is not None:
        return _lists(column.name, KINDS[column.items.type], values)
    return _scalars(column.name, KINDS[column.type], values)


def _scalars(name: str, kind: Kind, values: list[Any]) -> Array:
    array = _fast(kind, values)
    if array is not None:
        return array
    if errors := [
        CellError(name, row, _wrong(kind, v)) for row, v in enumerate(values) if not kind.accepts(v)
    ]:
        raise InvalidColumns(errors)
    return np.array([kind.convert(value) for value in values], dtype=kind.dtype)


def _fast(kind: Kind, values: list[Any]) -> Array | None:
    if not set(map(type, values)) <= kind.types:
        return None
    try:
        array = np.array(values, dtype=kind.dtype)
    except OverflowError:
        return None
    if kind.dtype is np.float64 and not np.isfinite(array).all():
        return None
    return array


def _lists(name: str, kind: Kind, values: list[Any]) -> list[list[Any]]:
    if all(_sound(kind, cell) for cell in values):
        return values
    if errors := [error for row, cell in enumerate(values) if (error := _wrong_list(name, kind, row, cell))]:
        raise InvalidColumns(errors)
    if kind.dtype is object or kind.dtype is np.bool_:
        return values
    return [[kind.convert(value) for value in cell] for cell in values]


def _sound(kind: Kind, cell: Any) -> bool:
    """At the speed of C: whether no element of a list needs a second look, or a conversion."""
    if type(cell) is not list or not cell:
        return type(cell) is list
    types = set(map(type, cell))
    if kind.dtype is np.float64:
        return types == {float} and math.isfinite(sum(cell))
    if kind.dtype is np.int64:
        return types == {int} and min(cell) >= INT64_MIN and max(cell) <= INT64_MAX
    return types <= kind.types


def _wrong_list(name: str, kind: Kind, row: int, cell: Any) -> CellError | None:
    if type(cell) is not list:
        return CellError(name, row, f"expected an array, got {_name(cell)}")
    if set(map(type, cell)) <= kind.types and kind.dtype in (object, np.bool_):
        return None
    position = next((i for i, value in enumerate(cell) if not kind.accepts(value)), None)
    if position is None:
        return None
    return CellError(name, row, f"element {position}: {_wrong(kind, cell[position])}")


def _wrong(kind: Kind, value: Any) -> str:
    given = (
        "a number that is not finite" if type(value) in (int, float) and not _finite(value) else _name(value)
    )
    if type(value) is int and kind.dtype is np.int64:
        given = "one that is larger"
    return f"expected {kind.wanted}, got {given}"


def _name(value: Any) -> str:
    return _JSON_NAMES.get(type(value), "something else")


def check_names(schema: Sequence[Column], given: Mapping[str, Any]) -> None:
    """Raises InvalidColumns for each column that is missing and each that the schema does not have."""
    names = [column.name for column in schema]
    errors = [CellError(name, None, "missing") for name in names if name not in given]
    known = f"unknown; the columns are {', '.join(names)}"
    errors += [CellError(name[:64], None, known) for name in given if name not in names]
    if errors:
        raise InvalidColumns(errors)


def count_rows(columns: Mapping[str, Values]) -> int:
    """The number of rows; raises InvalidColumns when columns differ in length or there is no row."""
    lengths = {name: len(values) for name, values in columns.items()}
    first, rows = next(iter(lengths.items()))
    errors = [
        CellError(name, None, f"has {length} rows, but {first} has {rows}")
        for name, length in lengths.items()
        if length != rows
    ]
    if rows == 0 and not errors:
        errors = [CellError(first, None, "has no rows: send at least one")]
    if errors:
        raise InvalidColumns(errors)
    return rows


def columns_of(schema: Sequence[Column], given: Mapping[str, Any]) -> Columns:
    """JSON lists by name as typed columns in the schema's order; raises InvalidColumns with every wrong column."""
    check_names(schema, given)
    columns: Columns = {}
    errors: list[CellError] = []
    for column in schema:
        try:
            columns[column.name] = column_of(column, given[column.name])
        except InvalidColumns as wrong:
            errors.extend(wrong.errors)
    if errors:
        raise InvalidColumns(errors)
    count_rows(columns)
    return columns


def matrix_reader(schema: Sequence[Column]) -> Callable[[Mapping[str, Any]], NDArray[np.float64]]:
    """A function from JSON lists by name to a float64 matrix [N, K] in the schema's order; the schema holds scalars.

    The common case, every column there and nothing wrong, takes one conversion; all else goes the way of
    `columns_of`, which says what is wrong.
    """
    names = [column.name for column in schema]
    types = [KINDS[column.type].types for column in schema]
    alike = len(set(types)) == 1

    def read(given: Mapping[str, Any]) -> NDArray[np.float64]:
        lists = [given.get(name) for name in names]
        flat = _flat(lists) if len(given) == len(names) else []
        fits = types[0].issuperset(map(type, flat)) if alike else _each_fits(types, lists)
        matrix = _finite_matrix(flat, len(names)) if flat and fits else None
        return stack(columns_of(schema, given)) if matrix is None else matrix

    return read


def _flat(lists: list[Any]) -> list[Any]:
    """The values of equally long lists, or nothing when they are not."""
    if set(map(type, lists)) != {list} or len(set(map(len, lists))) != 1:
        return []
    return list(chain.from_iterable(lists))


def _each_fits(types: Sequence[frozenset[type]], lists: list[Any]) -> bool:
    return all(
        type(values) is list and wanted.issuperset(map(type, values))
        for wanted, values in zip(types, lists, strict=True)
    )


def _finite_matrix(flat: list[Any], columns: int) -> NDArray[np.float64] | None:
    try:
        values = np.array(flat, dtype=np.float64)
    except OverflowError:
        return None
    return values.reshape(columns, -1).T if np.isfinite(values).all() else None


def stack(columns: Mapping[str, Values]) -> NDArray[np.float64]:
    """Columns of numbers, integers and booleans side by side: float64 [N, K]."""
    return np.stack([np.asarray(values, dtype=np.float64) for values in columns.values()], axis=1)
