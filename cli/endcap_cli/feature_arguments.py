# SPDX-License-Identifier: Apache-2.0
"""The words of `endcap features` and `endcap events`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

EVENTS_PORT = 8070
LOCAL_URL = f"http://127.0.0.1:{EVENTS_PORT}"
DEFAULT_STORE = "default"
DEFAULT_SAMPLE = 100
SETTLE_SECONDS = 60
WHERE = f"""\
The store is the one at --url, or with --local that of an `endcap run` on this machine ({LOCAL_URL}), or
ENDCAP_INGEST_URL; else FeatureStore --store in the cluster of the kubeconfig, through its API server.
"""
GET = """\
Show the features of entities as a graph would see them, each with its status, window and meaning.

  endcap features get customer-preference customer_id=1467 --local
  endcap features get product product_id=12 product_id=13 --explain
"""
LISTED = """\
List the features in files, or in a namespace of the cluster: their views, and the bundles that carry each.

  endcap features list examples/02-live-features
  endcap features list -n shop --feature clicks
"""
CHECK = """\
Recompute features from the events themselves, apart from the code that serves them, and compare: by equality,
for a sample of the entities. One line a difference, exit status 1 when there are any.

  endcap features check household --events sent.jsonl --files examples/02-live-features --local
"""
LOAD = """\
Write the rows of a Parquet file into a precomputed view: columns are the keys, any of the features, and
optionally updated_at. A row replaces only an older one, so the same file can be loaded again at no harm.

  endcap features load product-facts facts.parquet --local
"""
LOG = """\
Fetch the serving log: which features were served for which request, so that training uses what was served.
The columns of a Parquet file have the types of the definitions, so that the files of all days have one schema.

  endcap features log --request 3f1c… --local
  endcap features log --output served.parquet
  endcap features log --output served.parquet --files examples/02-live-features --local
"""
SEND = """\
Send events, one CloudEvent as JSON a line, and tell which were refused and why. When the store asks to wait,
the command waits. Exit status 1 when any was refused.

  endcap events send events.jsonl --now --wait --local
  endcap events send events.jsonl --now --save sent.jsonl --local
  endcap events send yesterday.jsonl --speed 60
"""
DEAD = """\
List the events that were taken and could not be applied: late, future, invalid, expired.

  endcap events dead --reason late --local
"""
REPLAY = """\
Put dead letters back, as if they arrived now; those that still cannot be applied come back.

  endcap events replay --reason invalid --view clicks
"""
PARQUET = "Parquet where it ends in .parquet, JSON lines otherwise and for -"

_Commands = argparse._SubParsersAction  # noqa: SLF001  argparse gives its type no public name


def add_features(commands: _Commands[argparse.ArgumentParser]) -> None:
    features = commands.add_parser("features", help="look at features, check, load and log them")
    actions = features.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for add in (_add_get, _add_list, _add_check, _add_load, _add_log):
        add(actions)


def add_events(commands: _Commands[argparse.ArgumentParser]) -> None:
    events = commands.add_parser("events", help="send events, and look after those that were refused")
    actions = events.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for add in (_add_send, _add_dead, _add_replay):
        add(actions)


def _reaching(
    actions: _Commands[argparse.ArgumentParser], name: str, short: str, description: str, run: str
) -> argparse.ArgumentParser:
    """A command that talks to a store."""
    command = actions.add_parser(
        name,
        help=short,
        description=description,
        epilog=WHERE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    place = command.add_argument_group("where the store is")
    here = place.add_mutually_exclusive_group()
    here.add_argument("--url", metavar="URL", help="address of the ingest, as endcap run prints it")
    here.add_argument("--local", action="store_true", help=f"the same as --url {LOCAL_URL}")
    place.add_argument(
        "--store", default=DEFAULT_STORE, metavar="NAME", help="FeatureStore (default default)"
    )
    _add_cluster(place)
    command.set_defaults(run=run)
    return command


def _add_cluster(group: Any) -> None:
    group.add_argument("-n", "--namespace", metavar="NAME", help="namespace; else that of the context")
    group.add_argument("--kubeconfig", metavar="FILE", help="the cluster")
    group.add_argument("--context", metavar="NAME", help="context of the kubeconfig")


def _add_get(actions: _Commands[argparse.ArgumentParser]) -> None:
    command = _reaching(actions, "get", "show features of entities", GET, "endcap_cli.features.get:run")
    command.add_argument("bundle", metavar="BUNDLE", help="a FeatureBundle")
    command.add_argument("keys", nargs="+", metavar="KEY=VALUE", help="the entity; repeat keys for several")
    command.add_argument(
        "--explain", action="store_true", help="also the windows and what each feature means"
    )
    command.add_argument("-o", "--output", choices=["text", "json"], default="text", help="text or json")


def _add_list(actions: _Commands[argparse.ArgumentParser]) -> None:
    command = actions.add_parser(
        "list",
        help="list features and the bundles that carry them",
        description=LISTED,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_argument("paths", nargs="*", metavar="FILE|DIR", help="files; without any, the cluster")
    command.add_argument("--feature", metavar="NAME", help="only this feature, or this column")
    _add_cluster(command)
    command.set_defaults(run="endcap_cli.features.listing:run")


def _add_check(actions: _Commands[argparse.ArgumentParser]) -> None:
    command = _reaching(
        actions, "check", "recompute features and compare", CHECK, "endcap_cli.features.check:run"
    )
    command.add_argument("bundle", metavar="BUNDLE", help="a FeatureBundle")
    command.add_argument(
        "--events", nargs="+", type=Path, required=True, metavar="FILE", help="what was sent"
    )
    command.add_argument(
        "--files", nargs="+", metavar="FILE|DIR", help="the resources; without any, those of the cluster"
    )
    command.add_argument(
        "--sample", type=_count, default=DEFAULT_SAMPLE, metavar="N", help="entities (default 100; 0: all)"
    )
    command.add_argument("--seed", type=_count, default=0, metavar="N", help="another sample")


def _add_load(actions: _Commands[argparse.ArgumentParser]) -> None:
    command = _reaching(
        actions, "load", "write rows of a precomputed view", LOAD, "endcap_cli.features.load:run"
    )
    command.add_argument("view", metavar="VIEW", help="a FeatureView with source precomputed")
    command.add_argument("file", type=Path, metavar="FILE.parquet", help="the rows")
    command.add_argument(
        "--from-row", type=_count, default=0, metavar="N", help="go on where a load was interrupted"
    )


def _add_log(actions: _Commands[argparse.ArgumentParser]) -> None:
    command = _reaching(actions, "log", "fetch what was served", LOG, "endcap_cli.features.log:run")
    command.add_argument("--request", metavar="ID", help="only this request (x-request-id)")
    command.add_argument("--output", default="-", metavar="FILE", help=f"{PARQUET} (default -)")
    command.add_argument(
        "--files",
        nargs="+",
        metavar="FILE|DIR",
        help="the resources, for the types of Parquet; without any, those of the cluster",
    )


def _add_send(actions: _Commands[argparse.ArgumentParser]) -> None:
    command = _reaching(actions, "send", "send events", SEND, "endcap_cli.events.send:run")
    command.add_argument("file", metavar="FILE", help="JSON lines, or - for standard input")
    command.add_argument(
        "--save", type=Path, metavar="FILE", help="write what was taken, as it was sent: for features check"
    )
    command.add_argument(
        "--wait",
        action="store_true",
        help=f"end only when all count: no event waits to be applied (at most {SETTLE_SECONDS} s)",
    )
    command.add_argument("--rate", type=_positive, metavar="N", help="at most so many events a second")
    times = command.add_mutually_exclusive_group()
    times.add_argument(
        "--now", action="store_true", help="shift all times by one amount, so that the last event is now"
    )
    times.add_argument(
        "--speed",
        type=_positive,
        metavar="X",
        help="replay in the order of time, X times as fast, as if live",
    )


def _add_dead(actions: _Commands[argparse.ArgumentParser]) -> None:
    command = _reaching(actions, "dead", "list dead letters", DEAD, "endcap_cli.events.dead:run_list")
    _add_filters(command)
    command.add_argument(
        "--limit", type=_count, default=100, metavar="N", help="at most (default 100; 0: all)"
    )
    command.add_argument("-o", "--output", choices=["text", "json"], default="text", help="text or json")


def _add_replay(actions: _Commands[argparse.ArgumentParser]) -> None:
    command = _reaching(
        actions, "replay", "put dead letters back", REPLAY, "endcap_cli.events.dead:run_replay"
    )
    _add_filters(command)
    command.add_argument(
        "--id", dest="ids", action="append", metavar="ID", help="only this one; may be repeated"
    )


def _add_filters(command: argparse.ArgumentParser) -> None:
    command.add_argument("--reason", choices=["late", "future", "invalid", "expired"], help="only these")
    command.add_argument("--view", metavar="VIEW", help="only those of this view")


def _count(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is no count: give a whole number such as 100")
    return int(text)


def _positive(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0 < number < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is no rate: give a number above 0, e.g. 100")
    return number
