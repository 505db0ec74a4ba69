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

import pyarrow.parquet as pq

from endcap_cli.feature_contracts import Features
from endcap_cli.features.definitions import features_of
from endcap_cli.features.served_table import Types, table, types_of
from endcap_cli.features.training import rows_of
from endcap_cli.ingest import Ingest, ingest_of, url_of
from endcap_cli.terminal import CommandError, complain, counted

PAGE = 500
STANDARD_OUTPUT = "-"


def run(arguments: argparse.Namespace) -> int:
    parquet = arguments.output.endswith(".parquet")
    if arguments.files and not parquet:
        raise CommandError("--files: only Parquet has types: give --output FILE.parquet", status=2)
    with ingest_of(arguments) as ingest:
        records = list(_records(ingest, arguments.request))
    rows = [row for record in records for row in rows_of(record)]
    if not rows:
        wanted = f"request {arguments.request}" if arguments.request else "any request"
        remedy = "set spec.servingLog of the FeatureStore; the log keeps the newest"
        raise CommandError(f"nothing is logged of {wanted}: {remedy}")
    types = types_of(records, _definitions(arguments).bundle_contracts) if parquet else {}
    try:
        _write(rows, types, arguments.output)
    except OSError as error:
        raise CommandError(f"--output {arguments.output}: {error.strerror or error}") from None
    complain(f"{counted(len(rows), 'row')}")
    return 0


def _definitions(arguments: argparse.Namespace) -> Features:
    """From the files, or from the namespace of the store; a store that has no more than an address has none."""
    if arguments.files:
        return features_of(arguments.files, arguments)
    if url_of(arguments):
        return Features()
    try:
        return features_of(None, arguments)
    except CommandError as error:
        complain(f"note: {error}; the types of columns are those of their values")
        return Features()


def _records(ingest: Ingest, request: str | None) -> Iterator[dict[str, Any]]:
    after: str | None = None
    while True:
        page = ingest.get("/v1/served", request_id=request, after=after, limit=PAGE)
        yield from (one["record"] for one in page["served"] if isinstance(one["record"], dict))
        after = page.get("next")
        if not after:
            return


def _write(rows: Sequence[Mapping[str, Any]], types: Types, output: str) -> None:
    if output.endswith(".parquet"):
        pq.write_table(table(rows, types), output)
        return
    text = "".join(json.dumps({**row, "time": _text(row["time"])}) + "\n" for row in rows)
    if output == STANDARD_OUTPUT:
        sys.stdout.write(text)
    else:
        Path(output).write_text(text, encoding="utf-8")


def _text(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
