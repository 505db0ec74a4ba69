# SPDX-License-Identifier: Apache-2.0
"""`endcap validate`: what the API server and the operator would refuse, before they see it."""

from __future__ import annotations

import argparse
import dataclasses
import json

from endcap_cli.bundle import Bundle, examine
from endcap_cli.manifests import load
from endcap_cli.terminal import CommandError, complain, counted, say


def run(arguments: argparse.Namespace) -> int:
    bundle = examine(load(arguments.paths))
    if arguments.output == "json":
        _print_json(bundle)
    else:
        _print_text(bundle)
    return 1 if bundle.findings else 0


def sound(paths: list[str], *, namespace: str = "default", local: bool = False) -> Bundle:
    """The bundle of files in which nothing is wrong; otherwise the problems are told and the command ends."""
    bundle = examine(load(paths, namespace), local=local)
    for finding in bundle.findings:
        complain(str(finding))
    if bundle.findings:
        raise CommandError(f"{counted(len(bundle.findings), 'problem')}: nothing was done")
    return bundle


def _print_text(bundle: Bundle) -> None:
    for finding in bundle.findings:
        say(str(finding))
    for note in bundle.notes:
        complain(f"note: {note}")
    say(f"{counted(len(bundle.findings), 'problem')} in {counted(bundle.seen, 'resource')}")


def _print_json(bundle: Bundle) -> None:
    problems = [dataclasses.asdict(finding) for finding in bundle.findings]
    report = {"problems": problems, "notes": bundle.notes, "resources": bundle.seen}
    print(json.dumps(report, indent=2))
