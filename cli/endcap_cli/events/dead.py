# SPDX-License-Identifier: Apache-2.0
"""`endcap events dead` and `replay`: what was taken and could not be applied."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from itertools import islice
from typing import Any

from endcap_cli.ingest import Ingest, ingest_of
from endcap_cli.terminal import complain, counted, say, say_table

PAGE = 200
PATH = "/v1/dead-letters"
HEAD = ("ID", "ARRIVED", "REASON", "VIEW", "MESSAGE")


def run_list(arguments: argparse.Namespace) -> int:
    with ingest_of(arguments) as ingest:
        found = list(islice(_letters(ingest, arguments), arguments.limit or None))
    if arguments.output == "json":
        for letter in found:
            print(json.dumps(letter, ensure_ascii=True))
        return 0
    if found:
        say_table(HEAD, [_row(letter) for letter in found])
    remedy = "; endcap events replay puts them back" if found else ""
    complain(f"{counted(len(found), 'dead letter')}{remedy}")
    return 0


def run_replay(arguments: argparse.Namespace) -> int:
    wanted = {"reason": arguments.reason, "view": arguments.view, "ids": arguments.ids}
    with ingest_of(arguments) as ingest:
        answer = ingest.post(f"{PATH}/replay", {name: value for name, value in wanted.items() if value})
    say(f"{answer['replayed']} replayed; endcap events dead shows those that come back")
    return 0


def _letters(ingest: Ingest, arguments: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Oldest first, a page at a time."""
    after: str | None = None
    while True:
        page = ingest.get(PATH, reason=arguments.reason, view=arguments.view, after=after, limit=PAGE)
        yield from page["events"]
        after = page.get("next")
        if not after:
            return


def _row(letter: dict[str, Any]) -> tuple[str, ...]:
    return tuple(str(letter.get(name) or "") for name in ("id", "arrival", "reason", "view", "message"))
