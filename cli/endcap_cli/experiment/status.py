# SPDX-License-Identifier: Apache-2.0
"""`endcap experiment status`: one screen, once, again when it changes, or when it has ended."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

from endcap_cli.experiment.known import standing_of
from endcap_cli.experiment.screen import screen
from endcap_cli.experiment.sentence import sentence
from endcap_cli.experiment.source import cluster_of, of_cluster, source_of
from endcap_cli.experiment.standing import BAD, Standing
from endcap_cli.terminal import CommandError, say
from endcap_cli.workspace import Name

POLL_SECONDS = 2.0
HOME = "\x1b[H\x1b[2J"  # our own: what is shown is escaped


def run(arguments: argparse.Namespace) -> int:
    if arguments.timeout and not (arguments.wait or arguments.watch):
        raise CommandError("--timeout goes with --wait and --watch: add one, or leave it out", status=2)
    if arguments.local:
        return _follow(lambda: standing_of(source_of(arguments)), arguments)
    with cluster_of(arguments) as (cluster, namespace):
        name = Name(namespace, arguments.source)
        return _follow(lambda: standing_of(of_cluster(cluster, name)), arguments)


def _follow(look: Callable[[], Standing], arguments: argparse.Namespace) -> int:
    deadline = time.monotonic() + arguments.timeout if arguments.timeout else None
    shown: Standing | None = None
    while True:
        standing = look()
        over = standing.ended or standing.mismatch or not (arguments.wait or arguments.watch)
        if standing != shown and (over or arguments.watch):
            _show(standing, arguments)
        if over:
            return _status(standing) if arguments.wait else 0
        if deadline and time.monotonic() > deadline:
            raise CommandError(
                f"{standing.name.name} is still {standing.phase} after {arguments.timeout:g} s"
            )
        shown = standing
        time.sleep(POLL_SECONDS)


def _status(standing: Standing) -> int:
    return 1 if standing.mismatch or standing.phase in BAD else 0


def _show(standing: Standing, arguments: argparse.Namespace) -> None:
    if arguments.output == "json":
        print(json.dumps(told(standing)), flush=True)
        return
    if arguments.watch and sys.stdout.isatty():
        print(HOME, end="")
    for line in screen(standing):
        say(line)


def told(standing: Standing) -> Mapping[str, Any]:
    """For a program: the status as the cluster has it, with the sentence and the figures over time."""
    return {
        "name": standing.name.name,
        "namespace": standing.name.namespace,
        "sentence": sentence(standing),
        "status": standing.status,
        "series": [point.dump() for point in standing.points],
    }
