# SPDX-License-Identifier: Apache-2.0
"""The command line."""

import argparse
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path

from endcap_cluster import audit, flavour, images, light, teardown
from endcap_cluster.errors import ClusterError
from endcap_cluster.layout import AUDIT_LOG, LIGHT
from endcap_cluster.progress import phase, say

Command = Callable[[argparse.Namespace], int]


def main(arguments: Sequence[str]) -> int:
    """Run one command; an error that a person can remedy is printed without a traceback."""
    given = _parser().parse_args(arguments)
    command: Command = given.command
    try:
        return command(given)
    except ClusterError as error:
        say(f"error: {error}")
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="endcap_cluster", description="A Kubernetes for this checkout.")
    commands = parser.add_subparsers(required=True)
    up = _add(commands, "up", _up, "bring the cluster up, whatever an earlier run left")
    up.add_argument("--load", nargs="+", default=[], metavar="NAME", help="images to put into it")
    down = _add(commands, "down", _down, "end the cluster and leave nothing of it")
    for parser_of_command in (up, down):
        parser_of_command.add_argument("--cluster", choices=("auto", *flavour.FLAVOURS), default="auto")
    _add(commands, "status", _status, "tell what runs")
    _add(commands, "verify-clean", _verify_clean, "fail if anything of an embedded cluster is left")
    for name, command, text in (
        ("images", _images, "build images"),
        ("load", _load, "build images and put them into the cluster"),
    ):
        added = _add(commands, name, command, text)
        added.add_argument("names", nargs="*", metavar="NAME", help="as in images.yaml; all by default")
    _add_audit(commands)
    _add_light(commands)
    return parser


def _add(
    commands: "argparse._SubParsersAction[argparse.ArgumentParser]", name: str, command: Command, text: str
) -> argparse.ArgumentParser:
    added = commands.add_parser(name, help=text)
    added.set_defaults(command=command)
    return added


def _add_audit(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    added = _add(commands, "audit", _audit, "count the writes of each client")
    added.add_argument("--log", type=Path, default=AUDIT_LOG)
    added.add_argument("--user-agent", default="", help="what the client's user agent starts with")
    added.add_argument("--user", default="", help="what the client's user name starts with")
    added.add_argument("--since", type=_time, help="a time with its zone: 2026-01-31T12:00:00Z")


def _add_light(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = commands.add_parser("light", help="etcd and an API server only, on free ports")
    actions = parser.add_subparsers(required=True)
    up = _add(actions, "up", _light_up, "start one in a directory of its own")
    up.add_argument("--collect", action="store_true", help="with garbage collection of owned objects")
    down = _add(actions, "down", _light_down, "end it and remove its directory")
    for parser_of_action in (up, down):
        parser_of_action.add_argument("--dir", type=Path, default=LIGHT)


def _up(given: argparse.Namespace) -> int:
    with phase("cluster"):
        cluster = flavour.up(given.cluster, images.find(given.load) if given.load else [])
    say(f"KUBECONFIG={cluster.kubeconfig}")
    return 0


def _down(given: argparse.Namespace) -> int:
    with phase("down"):
        flavour.down(given.cluster)
    return 0


def _status(_: argparse.Namespace) -> int:
    lines, healthy = flavour.status()
    print("\n".join(lines))
    return 0 if healthy else 1


def _verify_clean(_: argparse.Namespace) -> int:
    left = teardown.leftovers()
    print("\n".join(left) or "clean")
    return 1 if left else 0


def _images(given: argparse.Namespace) -> int:
    for image in images.find(given.names):
        with phase(f"image {image.name}"):
            print(flavour.build(image))
    return 0


def _load(given: argparse.Namespace) -> int:
    for image in images.find(given.names):
        with phase(f"image {image.name}"):
            flavour.load(image)
    return 0


def _audit(given: argparse.Namespace) -> int:
    if not given.log.exists():
        raise ClusterError(f"there is no audit log at {given.log}: is the cluster up?")
    found = audit.writes(given.log, user_agent=given.user_agent, user=given.user, since=given.since)
    for (user, agent), count in audit.count_by_client(found).items():
        print(f"{count:7d}  {user}  {agent}")
    print(f"{len(found):7d}  in all")
    return 0


def _light_up(given: argparse.Namespace) -> int:
    with phase("light cluster"):
        cluster = light.up(given.dir, light.GARBAGE_COLLECTION if given.collect else ())
    print(f"KUBECONFIG={cluster.kubeconfig}")
    return 0


def _light_down(given: argparse.Namespace) -> int:
    light.down(given.dir)
    return 0


def _time(text: str) -> datetime:
    time = datetime.fromisoformat(text)
    if time.tzinfo is None:
        raise argparse.ArgumentTypeError("give the zone too: append Z for UTC")
    return time
