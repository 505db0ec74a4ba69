# SPDX-License-Identifier: Apache-2.0
"""The time of a row of a precomputed view: a millisecond decides which of two is newer."""

from __future__ import annotations

import json
from io import BytesIO

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from feature_views import view_config

from endcap_runtime.features.ingest.tables import Table, json_table, parquet_table
from endcap_runtime.features.lookup.answer_json import instant

PROFILE = view_config({"precomputed": {}}, {"name": "segment", "type": "string"}).spec
SECOND = 1_764_000_000_000
MOMENTS = [SECOND * 2 * number // 997 for number in range(997)] + [SECOND + number for number in range(1000)]
UNITS = {"ms": 1, "us": 1000, "ns": 1_000_000}


def loaded(moments: pa.Array) -> Table:
    buffer = BytesIO()
    pq.write_table(pa.table({"customer_id": ["1"] * len(moments), "updated_at": moments}), buffer)
    return parquet_table(buffer.getvalue(), PROFILE)


@pytest.mark.parametrize("unit", UNITS)
def test_a_file_tells_the_millisecond_and_what_is_finer_is_cut_off(unit: str) -> None:
    finer = UNITS[unit]
    moments = pa.array(
        [moment * finer + finer - 1 for moment in MOMENTS], pa.timestamp(unit, "Europe/Berlin")
    )
    assert loaded(moments).updated_ms == MOMENTS


def test_json_tells_the_millisecond() -> None:
    columns = {"customer_id": ["1"] * len(MOMENTS), "updated_at": [instant(moment) for moment in MOMENTS]}
    assert json_table(json.dumps({"columns": columns}).encode(), PROFILE).updated_ms == MOMENTS
