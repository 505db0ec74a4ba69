# SPDX-License-Identifier: Apache-2.0
"""The SQL of docs/assignment.md, run in DuckDB over the units of a test or a benchmark."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import duckdb
import numpy as np

from endcap_api.assignment import parse_ranges
from endcap_api.experiment_config import ExperimentConfig

PAGE = Path(__file__).parents[1] / "docs/assignment.md"
Answers = list[tuple[str, int, str, str | None]]


def statements() -> list[str]:
    """The function, and the query over units, as the page has them."""
    return re.findall(r"```sql\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)


def database(units: Sequence[str]) -> duckdb.DuckDBPyConnection:
    """With the function and the units, in one thread."""
    connection = duckdb.connect(config={"threads": 1})
    connection.execute(statements()[0])
    connection.register("given", {"unit": np.array(units, dtype=object)})
    connection.execute("CREATE TABLE units AS SELECT unit FROM given")
    return connection


def answers(connection: duckdb.DuckDBPyConnection, config: ExperimentConfig) -> Answers:
    """Unit, bucket, reason and variant, of all units, ordered by unit."""
    ranges = [(each.name, *one) for each in config.variants for one in parse_ranges(each.buckets)]
    layer = parse_ranges(config.layer.buckets) if config.layer else ()
    connection.execute("CREATE OR REPLACE TABLE experiment(salt TEXT, layer TEXT, holdout TEXT, percent INT)")
    connection.execute(
        "INSERT INTO experiment VALUES (?, ?, ?, ?)",
        [
            config.salt,
            config.layer.name if config.layer else None,
            config.holdout.name if config.holdout else None,
            config.holdout.percent if config.holdout else None,
        ],
    )
    connection.execute("CREATE OR REPLACE TABLE ranges(variant TEXT, first INT, beyond INT)")
    connection.executemany("INSERT INTO ranges VALUES (?, ?, ?)", ranges)
    connection.execute("CREATE OR REPLACE TABLE layer_ranges(first INT, beyond INT)")
    for each in layer:
        connection.execute("INSERT INTO layer_ranges VALUES (?, ?)", list(each))
    found = connection.execute(f"SELECT * FROM ({statements()[1].strip().rstrip(';')}) ORDER BY unit")  # noqa: S608
    return found.fetchall()
