# SPDX-License-Identifier: Apache-2.0
"""`endcap validate`: what the API server and the operator would refuse, before they see it."""

from __future__ import annotations

import argparse
import dataclasses
import json

from endcap_cli.bundle import Bundle, examine
from endcap_cli.manifests import load
from endcap_cli.terminal import CommandError, complain, counted, say

DESCRIPTION = """\
Check ModelDeployments and InferenceGraphs in files and folders with the same code as the cluster:
the shape of every field, the types of every expression, and the models of a graph against its steps.
Needs no cluster. One line a problem, exit status 1 when there are any.
"""


def add_to(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "validate",
        help="check resources in files, as the cluster would",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "paths", nargs="+", metavar="FILE|DIR", help="files, folders, or - for standard input"
    )
    parser.add_argument(
        "-o", "--output", choices=["text", "json"], default="text", help="text (default) or json"
    )
    parser.set_defaults(run=run)


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
