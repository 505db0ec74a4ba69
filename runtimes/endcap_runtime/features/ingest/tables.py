# SPDX-License-Identifier: Apache-2.0
"""Rows of a precomputed view as they arrive: Parquet or JSON columns, checked against the view's declaration."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
from rapidfuzz import process

from endcap_api.v1alpha1.featureview import FeatureViewSpec
from endcap_runtime.features.ingest.parameters import object_of
from endcap_runtime.problems import FieldError, Problem

MOST_ROWS = 50_000
MOST_BYTES = 64 << 20  # once it is decompressed
MOST_CELLS = 1 << 20  # of a column, elements of lists counted
_BATCH = 64  # rows that are decoded before their size is looked at
UPDATED_AT = "updated_at"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
_UNITS = {"s": (1000, 1), "ms": (1, 1), "us": (1, 1000), "ns": (1, 1_000_000)}
_MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:\d\d)", re.IGNORECASE | re.ASCII)


class Table(NamedTuple):
    """`columns` by name, lists of equal length with None where a cell is empty; `updated_ms` where rows have it."""

    rows: int
    columns: Mapping[str, Sequence[Any]]
    updated_ms: Sequence[int] | None


def parquet_table(body: bytes, view: FeatureViewSpec) -> Table:
    """Raises Problem 413 or 422."""
    try:
        with pq.ParquetFile(pa.BufferReader(body)) as file:
            _check_size(file.metadata)
            _check_names(file.schema_arrow.names, view)
            arrow = _bounded(file)
        arrow.validate(full=True)
    except (pa.ArrowException, OSError, ValueError) as error:
        line = next(iter(str(error).splitlines()), type(error).__name__)[:200]
        raise Problem(422, f"The body is no readable Parquet: {line}; write it anew.") from error
    if faults := [
        fault for name, kind in _declared(view).items() if (fault := _type_fault(name, kind, arrow))
    ]:
        raise Problem(422, "The columns do not fit the view.", faults)
    columns = {name: arrow.column(name).to_pylist() for name in arrow.column_names if name != UPDATED_AT}
    moments = _instants(arrow.column(UPDATED_AT)) if UPDATED_AT in arrow.column_names else None
    return Table(arrow.num_rows, columns, None if moments is None else _sound(moments))


def json_table(body: bytes, view: FeatureViewSpec) -> Table:
    """`{"columns": {name: [values]}}`; types are checked cell by cell later. Raises Problem 400, 413 or 422."""
    columns = object_of(body, "columns").get("columns")
    if not isinstance(columns, dict) or not all(isinstance(column, list) for column in columns.values()):
        raise Problem(422, 'The body must be {"columns": {name: [values]}}.')
    _check_names(list(columns), view)
    lengths = {name: len(column) for name, column in columns.items()}
    rows = next(iter(lengths.values()))
    if uneven := [name for name, length in lengths.items() if length != rows]:
        message = f"has {lengths[uneven[0]]} values, the first column has {rows}: send one a row"
        raise Problem(422, "The columns do not fit the view.", [FieldError(uneven[0], message)])
    _check_rows(rows)
    moments = columns.pop(UPDATED_AT, None)
    return Table(rows, columns, None if moments is None else _sound(map(_instant, moments)))


def _check_size(metadata: Any) -> None:
    groups = [metadata.row_group(number) for number in range(metadata.num_row_groups)]
    size = sum(group.total_byte_size for group in groups)
    cells = [group.column(number).num_values for group in groups for number in range(group.num_columns)]
    if max(cells, default=0) > MOST_CELLS:
        raise Problem(413, f"A column has {max(cells)} elements of {MOST_CELLS} allowed: send several files.")
    if size > MOST_BYTES:
        raise Problem(413, f"The file has {size >> 20} MiB of {MOST_BYTES >> 20} allowed: send several.")
    _check_rows(metadata.num_rows)


def _bounded(file: Any) -> Any:
    """The table; a dictionary of a few long texts can stand for gigabytes, and its pages do not tell."""
    batches, size = [], 0
    for batch in file.iter_batches(_BATCH):
        size += batch.nbytes
        if size > MOST_BYTES:
            raise Problem(413, f"The rows have more than {MOST_BYTES >> 20} MiB: send several files.")
        batches.append(batch)
    return pa.Table.from_batches(batches, file.schema_arrow)


def _check_rows(rows: int) -> None:
    if rows > MOST_ROWS:
        raise Problem(413, f"There are {rows} rows of {MOST_ROWS} allowed in a request: send several.")


def _check_names(names: Sequence[str], view: FeatureViewSpec) -> None:
    keys = [key.name for key in view.entity.keys]
    known = [*keys, *(feature.name for feature in view.features), UPDATED_AT]
    faults = [FieldError(key, "is missing: each row names its entity") for key in keys if key not in names]
    for name in dict.fromkeys(names):
        if name not in known:
            nearest = process.extractOne(name, known, score_cutoff=60)
            hint = (
                f": did you mean {nearest[0]}?" if nearest else f": remove it; there are {', '.join(known)}"
            )
            faults.append(FieldError(name[:64], f"is no key and no feature of the view{hint}"))
        elif names.count(name) > 1:
            faults.append(FieldError(name, "is there twice: keep one of the two"))
    if faults:
        raise Problem(422, "The columns do not fit the view.", faults)


class _Kind(NamedTuple):
    word: str
    holds: Callable[[Any], bool]


def _is_text(kind: Any) -> bool:
    if pa.types.is_dictionary(kind):
        return _is_text(kind.value_type)
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _is_number(kind: Any) -> bool:
    return bool(pa.types.is_floating(kind) or pa.types.is_integer(kind))


def _is_moment(kind: Any) -> bool:
    return bool(pa.types.is_timestamp(kind) and kind.tz)


_SCALARS: Mapping[str, Callable[[Any], bool]] = {
    "string": _is_text,
    "integer": pa.types.is_integer,
    "number": _is_number,
    "boolean": pa.types.is_boolean,
}


def _declared(view: FeatureViewSpec) -> dict[str, _Kind]:
    kinds = {key.name: _Kind(key.type, _SCALARS[key.type]) for key in view.entity.keys}
    for feature in view.features:
        items = feature.items.type if feature.items else None
        kinds[feature.name] = (
            _Kind(f"array of {items}", _lists_of(items))
            if items
            else _Kind(feature.type, _SCALARS[feature.type])
        )
    return {**kinds, UPDATED_AT: _Kind("timestamp with a time zone", _is_moment)}


def _lists_of(items: str) -> Callable[[Any], bool]:
    def holds(kind: Any) -> bool:
        listed = pa.types.is_list(kind) or pa.types.is_large_list(kind)
        return bool(listed and _SCALARS[items](kind.value_type))

    return holds


def _type_fault(name: str, kind: _Kind, arrow: Any) -> FieldError | None:
    if name not in arrow.column_names or kind.holds(found := arrow.column(name).type):
        return None
    return FieldError(
        name, f"must be {kind.word}, but the file holds {found}: write it so, or change the view"
    )


def _instants(column: Any) -> list[int | None]:
    """In ms, whatever the unit of the file; what is finer is cut off."""
    ticks = column.cast(pa.int64()).to_pylist()
    grow, shrink = _UNITS[column.type.unit]
    return [None if tick is None else tick * grow // shrink for tick in ticks]


def _instant(cell: Any) -> int | None:
    if not isinstance(cell, str) or not _MOMENT.fullmatch(cell):
        return None
    try:
        return (datetime.fromisoformat(cell.upper()) - _EPOCH) // _MILLISECOND
    except ValueError:
        return None


def _sound(moments: Iterable[int | None]) -> list[int]:
    """Raises Problem 422 that names the first row whose time is none."""
    return [_since_1970(row, moment) for row, moment in enumerate(moments)]


def _since_1970(row: int, moment: int | None) -> int:
    if moment is None or moment < 0:
        message = "must be a time since 1970 with a zone, as 2026-11-24T10:00:00Z"
        raise Problem(422, "A row does not fit.", [FieldError(f"{UPDATED_AT}[{row}]", message)])
    return moment
