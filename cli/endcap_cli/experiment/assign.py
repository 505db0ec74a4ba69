# SPDX-License-Identifier: Apache-2.0
"""`endcap experiment assign`: who gets which variant and why, by the function that the engine has."""

from __future__ import annotations

import argparse
import csv
import json
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from endcap_api.assigner import Assigner, Unit, holdout_salt, layer_salt
from endcap_api.assignment import bucket
from endcap_api.experiment_config import ExperimentConfig
from endcap_cli.experiment.configured import configured
from endcap_cli.experiment.source import Source, source_of
from endcap_cli.manifests import STANDARD_INPUT
from endcap_cli.terminal import CommandError, complain, escaped, say_table

ALWAYS = ("unit", "variant", "reason", "bucket")


class Row(NamedTuple):
    """The buckets are those of the experiment's salt, of its layer and of its holdout."""

    unit: str
    variant: str
    reason: str
    bucket: int | None
    layer: int | None
    holdout: int | None


def run(arguments: argparse.Namespace) -> int:
    units = _units(arguments)
    source = source_of(arguments)
    found = configured(source, arguments.coverage)
    rows = rows_of(found.config, units, _targeted(source, found.config, arguments.request))
    if found.note:
        complain(f"note: {found.note}")
    {"text": _print_table, "csv": _print_csv, "json": _print_json}[arguments.output](rows)
    return 0


def rows_of(config: ExperimentConfig, units: Iterable[str], targeted: Callable[[], bool]) -> Iterator[Row]:
    assigner = Assigner(config)
    field = config.unit[0].removeprefix("request.")
    for text in units:
        decided = assigner.decide(Unit(text, field) if text else None, targeted=targeted)
        layer = bucket(layer_salt(config.layer), text) if config.layer and text else None
        holdout = bucket(holdout_salt(config.holdout), text) if config.holdout and text else None
        yield Row(text, decided.variant, decided.reason, decided.bucket, layer, holdout)


def _targeted(source: Source, config: ExperimentConfig, given: list[str]) -> Callable[[], bool]:
    """One request stands for all units; what it says is judged once."""
    expression = config.targeting
    if expression is None:
        if given:
            raise CommandError(f"--request: {source.name.name} has no targeting: leave it out", status=2)
        return lambda: True
    if source.graph is None:
        where = "give its file as well: a folder, or one file" if source.live is None else "apply it first"
        raise CommandError(f"spec.targeting reads the request of graph {source.spec.graph}: {where}")
    # The engine's expressions take as long to load as everything else together.
    from endcap_cli.experiment.targeting import is_targeted  # noqa: PLC0415

    answer = is_targeted(expression, source.graph, given)
    return lambda: answer


def _units(arguments: argparse.Namespace) -> list[str]:
    if bool(arguments.units) == bool(arguments.file):
        raise CommandError("give units, or a file of them with --units", status=2)
    units: list[str] = arguments.units or list(_lines(arguments.file))
    for unit in units:
        if not unit.isascii() and unit != unit.encode(errors="replace").decode():
            raise CommandError(f"{unit!r} is not UTF-8: write it as the requests do", status=2)
    return units


def _lines(file: str) -> Iterator[str]:
    try:
        text = sys.stdin.read() if file == STANDARD_INPUT else Path(file).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise CommandError(f"--units {file}: {error}", status=2) from None
    return (line for line in text.splitlines() if line)


def _print_table(rows: Iterable[Row]) -> None:
    """Without the columns that no row has."""
    shown = [tuple("-" if cell is None else str(cell) for cell in row) for row in rows]
    columns = [
        place
        for place, name in enumerate(Row._fields)
        if name in ALWAYS or any(row[place] != "-" for row in shown)
    ]
    head = [Row._fields[place].upper() for place in columns]
    say_table(head, [[row[place] for place in columns] for row in shown])


def _print_csv(rows: Iterable[Row]) -> None:
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(Row._fields)
    writer.writerows([escaped(cell) if isinstance(cell, str) else cell for cell in row] for row in rows)


def _print_json(rows: Iterable[Row]) -> None:
    for row in rows:
        print(json.dumps({name: value for name, value in row._asdict().items() if value is not None}))
