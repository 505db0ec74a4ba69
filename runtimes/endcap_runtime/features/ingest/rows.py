# SPDX-License-Identifier: Apache-2.0
"""POST /v1/views/{view}/rows: the bulk writer of precomputed views. All rows are checked before one is written."""

from __future__ import annotations

import asyncio
from typing import NamedTuple

import orjson

from endcap_api.v1alpha1.featureview import FeatureViewSpec
from endcap_runtime.asgi import Headers, Response, refuse_media_type
from endcap_runtime.features.ingest.compiled import nearest
from endcap_runtime.features.ingest.serving import Serving
from endcap_runtime.features.ingest.tables import UPDATED_AT, Table, json_table, parquet_table
from endcap_runtime.features.layout import InvalidEntity, InvalidRow, View
from endcap_runtime.features.store.counts import field_of
from endcap_runtime.problems import FieldError, Problem
from endcap_runtime.wire.faults import MOST_ERRORS

PARQUET, JSON = b"application/vnd.apache.parquet", b"application/json"
_AHEAD_MS = 60_000
_AHEAD = (
    "is more than 60 s ahead, and newer rows would never win over it: send the time at which the row was computed, "
    "or leave the column out for now"
)
_TURN = 500  # rows between which other requests have their turn

Row = tuple[bytes, bytes, int, int]


async def write_rows(serving: Serving, name: str, headers: Headers, body: bytes, now_ms: int) -> Response:
    """200 with how many were written. Raises Problem 400, 404, 409, 413, 415 or 422; StoreUnavailable."""
    refuse_media_type(headers, PARQUET, JSON)
    view, spec = _precomputed(serving, name)
    parquet = headers.get(b"content-type", JSON).split(b";", 1)[0].strip().lower() == PARQUET
    table = await asyncio.to_thread(parquet_table if parquet else json_table, body, spec)
    rows = await _packed(view, spec, table, now_ms)
    written = 0
    for start in range(0, len(rows), _TURN):
        part = await serving.redis.put(rows[start : start + _TURN])
        written += sum(part)
        await serving.streams.counts.add({field_of(view): {"rows": sum(part), "updated_ms": now_ms}})
    return Response(200, orjson.dumps({"written": written, "older": len(rows) - written}))


def _precomputed(serving: Serving, name: str) -> tuple[View, FeatureViewSpec]:
    view = serving.compiled.views.get(name)
    if view is None:
        meant = nearest(name, serving.compiled.views)
        hint = f": did you mean {meant}?" if meant else "."
        raise Problem(404, f"This store has no view {name[:64]}{hint}")
    spec = serving.compiled.config.views[name].spec
    if spec.kind != "precomputed":
        raise Problem(409, f"The view {name} is {spec.kind}: rows are for precomputed views alone.")
    return view, spec


async def _packed(view: View, spec: FeatureViewSpec, table: Table, now_ms: int) -> list[Row]:
    """Raises Problem 422 that names rows and columns."""
    packing = _Packing(view, [key.name for key in spec.entity.keys], table, now_ms)
    rows: list[Row] = []
    faults: list[FieldError] = []
    for index in range(table.rows):
        try:
            rows.append(packing.row(index))
        except (InvalidEntity, InvalidRow) as error:
            faults.append(FieldError(f"{error.field}[{index}]", error.message))
        if len(faults) >= MOST_ERRORS:
            break
        if index % _TURN == 0:
            await asyncio.sleep(0)
    if faults:
        raise Problem(422, "Nothing was written: there are cells that do not fit.", faults)
    return rows


class _Packing(NamedTuple):
    view: View
    keys: list[str]
    table: Table
    now_ms: int

    def row(self, index: int) -> Row:
        cells = {name: column[index] for name, column in self.table.columns.items()}
        key = self.view.key([cells.pop(name) for name in self.keys])
        at_ms = self.table.updated_ms[index] if self.table.updated_ms else self.now_ms
        if at_ms > self.now_ms + _AHEAD_MS:
            raise InvalidRow(UPDATED_AT, _AHEAD)
        given = {name: cell for name, cell in cells.items() if cell is not None}
        return key, self.view.row(given, at_ms, None), at_ms, self.view.ttl_ms
