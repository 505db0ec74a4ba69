# SPDX-License-Identifier: Apache-2.0
"""Columns of a Parquet file, exactly as a resource declares them: a column of another type is an error, not a guess."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from endcap_api.v1alpha1.values import Column as Declared
from endcap_runtime.graph.columns import Column, Elements, Lists, Vocabulary, Words

# Bounds the memory of a graph pod before anything is decompressed.
MAX_ROWS = 5_000_000
MAX_BYTES = 2 << 30


class CatalogueInvalid(Exception):
    """The file is not the catalogue that the resource declares; the message names the column and the remedy."""


class _Kind(NamedTuple):
    """How a declared scalar type stands in a file: which Arrow types hold it, and to which they are cast."""

    holds: Callable[[Any], bool]
    arrow: Any
    null: Any  # what a null means; None: a null is refused


def _is_text(kind: Any) -> bool:
    if pa.types.is_dictionary(kind):
        return _is_text(kind.value_type)
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _is_number(kind: Any) -> bool:
    return bool(pa.types.is_floating(kind) or pa.types.is_integer(kind) or pa.types.is_decimal(kind))


_KINDS: Mapping[str, _Kind] = {
    "string": _Kind(_is_text, pa.string(), ""),
    "integer": _Kind(pa.types.is_integer, pa.int64(), None),
    "number": _Kind(_is_number, pa.float64(), float("nan")),
    "boolean": _Kind(pa.types.is_boolean, pa.bool_(), None),
}


def read_columns(path: Path, declared: Sequence[Declared]) -> dict[str, Column]:
    """The declared columns by name, one value a row. Raises CatalogueInvalid.

    A null string is "", a null number NaN, a null list empty; a null integer or boolean is refused.
    """
    table = _read(path, [column.name for column in declared])
    return {column.name: _column(column, table.column(column.name).combine_chunks()) for column in declared}


def _read(path: Path, names: list[str]) -> Any:
    try:
        with pq.ParquetFile(path) as file:
            _check_size(file.metadata)
            _check_names(names, file.schema_arrow.names)
            table = file.read(columns=names)
        table.validate(full=True)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise CatalogueInvalid(
            f"the file is no readable Parquet: {_first_line(error)}; write it anew"
        ) from error
    return table


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)[:200]


def _check_size(metadata: Any) -> None:
    size = sum(metadata.row_group(group).total_byte_size for group in range(metadata.num_row_groups))
    if metadata.num_rows > MAX_ROWS or size > MAX_BYTES:
        raise CatalogueInvalid(
            f"the file has {metadata.num_rows} rows and {size >> 20} MiB, of {MAX_ROWS} rows and {MAX_BYTES >> 20} "
            "MiB allowed: keep only the items that can be recommended and the columns that are read"
        )
    if metadata.num_rows == 0:
        raise CatalogueInvalid("the file has no rows: a catalogue holds at least one item")


def _check_names(wanted: list[str], present: list[str]) -> None:
    if missing := [name for name in wanted if name not in present]:
        raise CatalogueInvalid(
            f"the file lacks column {missing[0]}; it has {', '.join(present[:32])}: "
            "write the column, or remove it from catalogue.columns"
        )
    if doubled := [name for name in wanted if present.count(name) > 1]:
        raise CatalogueInvalid(f"the file has column {doubled[0]} twice: keep one of the two")


def _column(declared: Declared, array: Any) -> Column:
    if declared.items is None:
        return _scalars(declared.name, declared.type, array)
    if not (pa.types.is_list(array.type) or pa.types.is_large_list(array.type)):
        raise _mismatch(declared.name, "array", array.type)
    lengths = np.asarray(array.value_lengths().fill_null(0), dtype=np.int64)
    offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)])
    return Lists(offsets, _elements(declared.name, declared.items.type, array.flatten()))


def _elements(name: str, kind: str, flat: Any) -> Elements:
    if flat.null_count:
        raise CatalogueInvalid(f"column {name} has a list with a null in it: write lists without nulls")
    return _scalars(name, kind, flat)


def _scalars(name: str, kind: str, array: Any) -> Elements:
    rule = _KINDS[kind]
    if not rule.holds(array.type):
        raise _mismatch(name, kind, array.type)
    if rule.null is None and array.null_count:
        raise CatalogueInvalid(
            f"column {name} is null in row {_first_null(array)}: fill it, or declare the column as number or string"
        )
    values = _cast(name, kind, array)
    return _words(values) if kind == "string" else np.asarray(values.to_numpy(zero_copy_only=False))


def _cast(name: str, kind: str, array: Any) -> Any:
    rule = _KINDS[kind]
    try:
        return array.cast(rule.arrow).fill_null(rule.null) if array.null_count else array.cast(rule.arrow)
    except pa.ArrowException as error:
        raise CatalogueInvalid(
            f"column {name} does not fit {kind}: {_first_line(error)}; write it as {rule.arrow}"
        ) from error


def _words(values: Any) -> Words:
    encoded = values.dictionary_encode()
    codes = np.asarray(encoded.indices, dtype=np.int32)
    return Words(codes, Vocabulary(encoded.dictionary.to_pylist()))


def _first_null(array: Any) -> int:
    return int(np.argmax(np.asarray(array.is_null())))


def _mismatch(name: str, declared: str, found: Any) -> CatalogueInvalid:
    return CatalogueInvalid(
        f"column {name} is declared {declared}, but the file holds {found}: change one of the two"
    )
