# SPDX-License-Identifier: Apache-2.0
"""`endcap features load`: a Parquet file into a precomputed view, in requests that the store takes."""

from __future__ import annotations

import argparse
import io
import json
import re
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from endcap_cli.ingest import FAILURES, Answer, Ingest, Refused, ingest_of
from endcap_cli.terminal import CommandError, complain, counted, say

PARQUET = "application/vnd.apache.parquet"
LARGEST_BYTES = 4 * 1024 * 1024
LARGEST_ROWS = 10_000
PROGRESS_SECONDS = 2.0
_ROW = re.compile(r"\[(\d+)\]$")


def run(arguments: argparse.Namespace) -> int:
    done, written, told = arguments.from_row, 0, time.monotonic()
    total = _opened(arguments.file).metadata.num_rows
    with ingest_of(arguments) as ingest:
        for table in _chunks(arguments.file, arguments.from_row):
            try:
                written += _put(ingest, arguments.view, table, done)
            except (CommandError, KeyboardInterrupt) as error:
                if done:
                    complain(f"{counted(done, 'row')} of {total} done; go on with --from-row {done}")
                raise error from None
            done += table.num_rows
            if time.monotonic() - told > PROGRESS_SECONDS:
                told = time.monotonic()
                complain(f"{done} of {total} rows")
    older = done - arguments.from_row - written
    say(f"{counted(written, 'row')} written, {older} older than what is there")
    return 0


def _put(ingest: Ingest, view: str, table: pa.Table, first: int) -> int:
    """How many rows were newer than what was there; `first` is the number of the table's first row in the file."""
    body = _bytes(table)
    if len(body) > LARGEST_BYTES and table.num_rows > 1:
        middle = table.num_rows // 2
        head = _put(ingest, view, table.slice(0, middle), first)
        return head + _put(ingest, view, table.slice(middle), first + middle)
    answer = ingest.insist(f"/v1/views/{view}/rows", PARQUET, body)
    if answer.status >= FAILURES:
        raise Refused(_in_file(answer, first), ingest.place)
    return int(answer.json["written"])


def _in_file(answer: Answer, first: int) -> Answer:
    """The store numbers the rows of a request; a person looks for them in the file."""
    found = answer.json
    for error in found.get("errors", ()) if isinstance(found, dict) else ():
        error["field"] = _ROW.sub(lambda row: f"[{int(row[1]) + first}]", str(error.get("field", "")))
    return replace(answer, body=json.dumps(found).encode()) if found else answer


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
