# SPDX-License-Identifier: Apache-2.0
"""`endcap features get`: the features of entities, as a graph would see them."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from endcap_cli.ingest import ingest_of
from endcap_cli.terminal import CommandError, say_table

HEAD = ("FEATURE", "VALUE", "STATUS", "FRESHNESS", "WINDOW", "DESCRIPTION")
SHORT = 4  # columns without --explain


def run(arguments: argparse.Namespace) -> int:
    keys = keys_of(arguments.keys)
    with ingest_of(arguments) as ingest:
        found = ingest.post(f"/v1/bundles/{arguments.bundle}", {"keys": keys, "explain": True})
    if arguments.output == "json":
        print(json.dumps(found, indent=2))
        return 0
    width = len(HEAD) if arguments.explain else SHORT
    many = found["rows"] > 1
    rows = [((entity, *row[:width]) if many else row[:width]) for entity, row in _rows(found, keys)]
    head = HEAD[:width]
    say_table(("ENTITY", *head) if many else head, rows)
    return 0


def keys_of(pairs: Sequence[str]) -> dict[str, list[str]]:
    """`customer_id=7 customer_id=8` as a column a key; raises CommandError unless all are equally long."""
    keys: dict[str, list[str]] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not name:
            raise CommandError(f"{pair!r} is no key: write KEY=VALUE, e.g. customer_id=1467", status=2)
        keys.setdefault(name, []).append(value)
    if len({len(values) for values in keys.values()}) > 1:
        counts = ", ".join(f"{name} {len(values)}" for name, values in keys.items())
        raise CommandError(f"an entity needs all of its keys: there are {counts}", status=2)
    return keys


def _rows(found: Mapping[str, Any], keys: Mapping[str, list[str]]) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Entity by entity, each with all of its features."""
    for index in range(found["rows"]):
        entity = "|".join(values[index] for values in keys.values())
        for name in found["columns"]:
            yield entity, _row(found, name, index)


def _row(found: Mapping[str, Any], name: str, index: int) -> tuple[str, ...]:
    value = json.dumps(found["columns"][name][index], ensure_ascii=False)
    status = found["statuses"][name][index]
    description = str(found["explain"][name].get("description") or "")
    return name, value, status, _freshness(found), window_text(window_of(found, name, index)), description


def window_of(found: Mapping[str, Any], name: str, index: int) -> Mapping[str, str] | None:
    """The row's own effective window where it differs from that of the column."""
    own: Mapping[str, Mapping[str, str]] = found["explain"][name].get("windows") or {}
    return own.get(str(index)) or found["windows"].get(name)


def window_text(window: Mapping[str, str] | None) -> str:
    return f"{window['from']} … {window['to']}" if window else ""


def _freshness(found: Mapping[str, Any]) -> str:
    """How old the oldest state is that was used."""
    age = int(found.get("freshness_ms") or 0)
    return f"{age / 1000:.3f} s" if age else "now"
