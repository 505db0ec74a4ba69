# SPDX-License-Identifier: Apache-2.0
"""`endcap validate`: what the API server and the operator would refuse, before they see it."""

from __future__ import annotations

import argparse
import dataclasses
import json

from endcap_cli.examination import examine
from endcap_cli.manifests import load
from endcap_cli.terminal import CommandError, complain, counted, say
from endcap_cli.workspace import Workspace


def run(arguments: argparse.Namespace) -> int:
    workspace = examine(load(arguments.paths))
    if arguments.output == "json":
        _print_json(workspace)
    else:
        _print_text(workspace)
    return 1 if workspace.findings else 0


def sound(paths: list[str], *, namespace: str = "default", local: bool = False) -> Workspace:
    """The workspace of files in which nothing is wrong; otherwise the problems are told and the command ends."""
    workspace = examine(load(paths, namespace), local=local)
    for finding in workspace.findings:
        complain(str(finding))
    if workspace.findings:
        raise CommandError(f"{counted(len(workspace.findings), 'problem')}: nothing was done")
    return workspace


def _print_text(workspace: Workspace) -> None:
    for finding in workspace.findings:
        say(str(finding))
    for note in workspace.notes:
        complain(f"note: {note}")
    say(f"{counted(len(workspace.findings), 'problem')} in {counted(workspace.seen, 'resource')}")


def _print_json(workspace: Workspace) -> None:
    problems = [dataclasses.asdict(finding) for finding in workspace.findings]
    report = {"problems": problems, "notes": workspace.notes, "resources": workspace.seen}
    print(json.dumps(report, indent=2))
