# SPDX-License-Identifier: Apache-2.0
"""`endcap features log`: what was served, as rows to train from."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from endcap_cli.features.training import rows_of
from endcap_cli.ingest import Ingest, ingest_of
from endcap_cli.terminal import CommandError, complain, counted

PAGE = 500
STANDARD_OUTPUT = "-"


def run(arguments: argparse.Namespace) -> int:
    with ingest_of(arguments) as ingest:
        rows = [row for record in _records(ingest, arguments.request) for row in rows_of(record)]
    if not rows:
        wanted = f"request {arguments.request}" if arguments.request else "any request"
        remedy = "set spec.servingLog of the FeatureStore; the log keeps the newest"
        raise CommandError(f"nothing is logged of {wanted}: {remedy}")
    try:
        _write(rows, arguments.output)
    except OSError as error:
        raise CommandError(f"--output {arguments.output}: {error.strerror or error}") from None
    complain(f"{counted(len(rows), 'row')}")
    return 0


def _records(ingest: Ingest, request: str | None) -> Iterator[dict[str, Any]]:
    after: str | None = None
    while True:
        page = ingest.get("/v1/served", request_id=request, after=after, limit=PAGE)
        yield from (one["record"] for one in page["served"] if isinstance(one["record"], dict))
        after = page.get("next")
        if not after:
            return


def _write(rows: Sequence[Mapping[str, Any]], output: str) -> None:
    if output.endswith(".parquet"):
        pq.write_table(_table(rows), output)
        return
    text = "".join(json.dumps({**row, "time": _text(row["time"])}) + "\n" for row in rows)
    if output == STANDARD_OUTPUT:
        sys.stdout.write(text)
    else:
        Path(output).write_text(text, encoding="utf-8")


def _text(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _table(rows: Sequence[Mapping[str, Any]]) -> pa.Table:
    """All columns that any row has; a row that lacks one has a null there."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    return pa.table({name: [row.get(name) for row in rows] for name in names})
