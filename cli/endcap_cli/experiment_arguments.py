# SPDX-License-Identifier: Apache-2.0
"""The words of `endcap experiment`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

ASSIGN = """\
Tell who gets which variant and why, by the same function as the graphs: from a file, before anything is applied,
or from an experiment in the cluster with the buckets that it really has. What a header forces is not in it.

  endcap experiment assign examples/03-ab-test 1467 1468
  endcap experiment assign ranker-v2 1467 --request channel=app
  endcap experiment assign ranker-v2 --units households.txt -o csv
"""
STATUS = """\
Show how an experiment stands: the verdict in words, what is healthy, variants, guardrails, and the lift over time.

  endcap experiment status ranker-v2
  endcap experiment status ranker-v2 --wait --timeout 3600
  endcap experiment status ranker-v2 --local --watch
"""
STATUS_END = """\
--wait ends when the experiment has: exit status 0 for Promoted and Ended, 1 for RolledBack, Aborted, a sample-ratio
mismatch (which allows no verdict any more) and --timeout.
"""
PROMOTE = """\
Give everyone a variant from now on: sets spec.decision.promote. The variant may be left out where the experiment has
one treatment, or waits for approval of its winner.
"""
ABORT = "End an experiment: everyone gets the baseline. Sets spec.decision.abort."
APPROVE = "Let a ramp go on beyond a step that waits for a person: sets spec.ramp.approved."
EXPORT = """\
Print an experiment as YAML with the exact buckets that it has, so that who creates it again from Git, in another
cluster or after a disaster, reshuffles nobody.

  endcap experiment export ranker-v2 > ranker-v2.yaml
"""
REPORT = """\
Write a page about an experiment: verdict, lift over time with its confidence sequence, split, sample ratio,
guardrails, variants, history. One HTML file without a network, to keep or to send.

  endcap experiment report ranker-v2 -o report.html
"""
FILES = "a file or folder, or the name of an Experiment in the cluster"

_Commands = argparse._SubParsersAction  # noqa: SLF001  argparse gives its type no public name


def add_experiment(commands: _Commands[argparse.ArgumentParser]) -> None:
    experiment = commands.add_parser("experiment", help="explain, watch, promote and report experiments")
    actions = experiment.add_subparsers(
        title="commands", metavar="COMMAND", required=True, parser_class=_Interleaved
    )
    for add in (_add_assign, _add_status, _add_promote, _add_abort, _add_approve, _add_export, _add_report):
        add(actions)


class _Interleaved(argparse.ArgumentParser):
    """Takes units also behind options; argparse alone gives a list of words up at the first option."""

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> tuple[Any, list[str]]:
        found, others = super().parse_known_args(args, namespace)
        if "units" in found:
            found.units = [*found.units, *(word for word in others if not word.startswith("-"))]
            others = [word for word in others if word.startswith("-")]
        return found, others


def _command(
    actions: _Commands[Any], name: str, short: str, description: str, epilog: str = ""
) -> argparse.ArgumentParser:
    command: argparse.ArgumentParser = actions.add_parser(
        name,
        help=short,
        description=description,
        epilog=epilog,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    cluster = command.add_argument_group("where it is")
    cluster.add_argument("-n", "--namespace", metavar="NAME", help="namespace; else that of the context")
    cluster.add_argument("--kubeconfig", metavar="FILE", help="the cluster")
    cluster.add_argument("--context", metavar="NAME", help="context of the kubeconfig")
    return command


def _add_assign(actions: _Commands[Any]) -> None:
    command = _command(actions, "assign", "tell who gets which variant, and why", ASSIGN)
    _add_source(command)
    command.add_argument("units", nargs="*", metavar="UNIT", help="e.g. a customer's id")
    command.add_argument("--units", dest="file", metavar="FILE", help="one unit a line; - for standard input")
    command.add_argument(
        "--request",
        action="append",
        default=[],
        metavar="FIELD=VALUE",
        help="of the request, for targeting; may be repeated",
    )
    command.add_argument(
        "--coverage", type=_percent, metavar="PERCENT", help="as if so many took part; else as it is"
    )
    command.add_argument(
        "-o", "--output", choices=["text", "csv", "json"], default="text", help="text, csv or JSON lines"
    )
    command.set_defaults(run="endcap_cli.experiment.assign:run")


def _add_status(actions: _Commands[Any]) -> None:
    command = _command(actions, "status", "show how it stands", STATUS, STATUS_END)
    command.add_argument("source", metavar="NAME", help="an Experiment in the cluster, or of a run")
    command.add_argument(
        "-w", "--watch", action="store_true", help="again whenever it changes, until it ends"
    )
    command.add_argument("--wait", action="store_true", help="only when it has ended")
    command.add_argument(
        "--timeout", type=_seconds, metavar="SECONDS", help="at most so long, with --wait and --watch"
    )
    command.add_argument("-o", "--output", choices=["text", "json"], default="text", help="text or json")
    _add_local(command)
    command.set_defaults(run="endcap_cli.experiment.status:run", experiment=None)


def _add_local(command: argparse.ArgumentParser) -> None:
    place = command.add_argument_group("an experiment of endcap run")
    place.add_argument("--local", action="store_true", help="of a run on this machine")
    place.add_argument("--port", type=int, metavar="PORT", help="of its first graph, where several run")


def _add_promote(actions: _Commands[Any]) -> None:
    command = _decision(actions, "promote", "give everyone a variant", PROMOTE)
    command.add_argument("--variant", metavar="VARIANT", help="which; else the treatment, or the winner")
    command.set_defaults(run="endcap_cli.experiment.decide:run_promote")


def _add_abort(actions: _Commands[Any]) -> None:
    command = _decision(actions, "abort", "end it: everyone gets the baseline", ABORT)
    command.add_argument("--reason", required=True, metavar="TEXT", help="why, for those who read it later")
    command.set_defaults(run="endcap_cli.experiment.decide:run_abort")


def _add_approve(actions: _Commands[Any]) -> None:
    command = _decision(actions, "approve", "let a ramp go on", APPROVE)
    command.add_argument(
        "--coverage", type=_percent, required=True, metavar="PERCENT", help="approved up to this coverage"
    )
    command.set_defaults(run="endcap_cli.experiment.decide:run_approve")


def _decision(actions: _Commands[Any], name: str, short: str, description: str) -> argparse.ArgumentParser:
    command = _command(actions, name, short, description)
    command.add_argument("name", metavar="NAME", help="an Experiment in the cluster")
    command.add_argument(
        "--yes", action="store_true", help="do it; without, it is only told what would be done"
    )
    return command


def _add_export(actions: _Commands[Any]) -> None:
    command = _command(actions, "export", "print it with its exact buckets", EXPORT)
    _add_source(command)
    command.set_defaults(run="endcap_cli.experiment.export:run")


def _add_report(actions: _Commands[Any]) -> None:
    command = _command(actions, "report", "write a page about it", REPORT)
    command.add_argument("source", metavar="NAME", help="an Experiment in the cluster, or of a run")
    _add_local(command)
    command.add_argument("-o", "--output", type=Path, required=True, metavar="FILE.html", help="the page")
    command.set_defaults(run="endcap_cli.experiment.report:run", experiment=None)


def _add_source(command: argparse.ArgumentParser) -> None:
    _add_local(command)
    command.add_argument("source", metavar="FILE|NAME", help=FILES)
    command.add_argument(
        "--experiment", metavar="NAME", help="which, where the files have several experiments"
    )


def _percent(text: str) -> int:
    if not text.isdecimal() or not 0 <= int(text) <= 100:  # noqa: PLR2004
        raise argparse.ArgumentTypeError(f"{text!r} is no percentage: give a whole number from 0 to 100")
    return int(text)


def _seconds(text: str) -> float:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no time: give whole seconds such as 600")
    return float(text)
