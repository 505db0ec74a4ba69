# SPDX-License-Identifier: Apache-2.0
"""`endcap features load`: a Parquet file into a precomputed view, in requests that the store takes."""

from __future__ import annotations

import argparse
import io
import time
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from endcap_cli.ingest import FAILURES, Ingest, Refused, ingest_of
from endcap_cli.terminal import CommandError, complain, counted, say

PARQUET = "application/vnd.apache.parquet"
LARGEST_BYTES = 4 * 1024 * 1024
LARGEST_ROWS = 10_000
PROGRESS_SECONDS = 2.0


def run(arguments: argparse.Namespace) -> int:
    done, written, told = arguments.from_row, 0, time.monotonic()
    total = _opened(arguments.file).metadata.num_rows
    with ingest_of(arguments) as ingest:
        for table in _chunks(arguments.file, arguments.from_row):
            try:
                written += _put(ingest, arguments.view, table)
            except (CommandError, KeyboardInterrupt) as error:
                complain(f"{counted(done, 'row')} of {total} done; go on with --from-row {done}")
                raise error from None
            done += table.num_rows
            if time.monotonic() - told > PROGRESS_SECONDS:
                told = time.monotonic()
                complain(f"{done} of {total} rows")
    older = done - arguments.from_row - written
    say(f"{counted(written, 'row')} written, {older} older than what is there")
    return 0


def _put(ingest: Ingest, view: str, table: pa.Table) -> int:
    """How many rows were newer than what was there."""
    body = _bytes(table)
    if len(body) > LARGEST_BYTES and table.num_rows > 1:
        middle = table.num_rows // 2
        return _put(ingest, view, table.slice(0, middle)) + _put(ingest, view, table.slice(middle))
    answer = ingest.insist(f"/v1/views/{view}/rows", PARQUET, body)
    if answer.status >= FAILURES:
        raise Refused(answer, ingest.place)
    return int(answer.json["written"])


def _bytes(table: pa.Table) -> bytes:
    sink = io.BytesIO()
    pq.write_table(table, sink)
    return sink.getvalue()


def _chunks(file: Path, start: int) -> Iterator[pa.Table]:
    """The rows from `start` on, so many at a time that no file is ever in memory as a whole."""
    seen = 0
    for batch in _opened(file).iter_batches(LARGEST_ROWS):
        table = pa.Table.from_batches([batch]).slice(max(0, start - seen))
        seen += batch.num_rows
        if table.num_rows:
            yield table


def _opened(file: Path) -> pq.ParquetFile:
    try:
        return pq.ParquetFile(file)
    except (OSError, pa.ArrowInvalid) as error:
        raise CommandError(f"{file} is no Parquet file that can be read: {error}") from None
