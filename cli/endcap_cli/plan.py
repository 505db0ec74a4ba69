# SPDX-License-Identifier: Apache-2.0
"""`endcap plan`: what the operator would make of resources, by the operator's own planning."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from typing import Any

import yaml

from endcap_cli.planning import Images, planned_without_cluster
from endcap_cli.terminal import CommandError, complain, say, say_lines
from endcap_cli.validate import sound

DESCRIPTION = """\
Show what the operator would make of ModelDeployments and InferenceGraphs.

Without a cluster, the manifests as YAML. With one (--kubeconfig, KUBECONFIG or ~/.kube/config), the
difference between what is there and what would be, as the API server itself works it out in a dry run.
Nothing is written.
"""
DEFAULT_NAMESPACE = "default"


def add_to(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "plan",
        help="show what the operator would make of resources",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "paths", nargs="+", metavar="FILE|DIR", help="files, folders, or - for standard input"
    )
    parser.add_argument("-n", "--namespace", metavar="NAME", help="namespace of resources that name none")
    parser.add_argument("--kubeconfig", metavar="FILE", help="the cluster to compare with")
    parser.add_argument("--context", metavar="NAME", help="context of the kubeconfig")
    parser.add_argument("--offline", action="store_true", help="print the manifests and ask no cluster")
    parser.add_argument(
        "--images", metavar="python=…,graph=…", help="images of pods; else those of the operator"
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    images = Images.read(arguments.images or os.environ.get("ENDCAP_IMAGES"))
    if arguments.offline or not _kubeconfig(arguments):
        return _print_manifests(arguments, images)
    return _print_difference(arguments, images)


def _kubeconfig(arguments: argparse.Namespace) -> bool:
    if arguments.kubeconfig or arguments.context or os.environ.get("KUBECONFIG"):
        return True
    return os.path.exists(os.path.expanduser("~/.kube/config"))  # noqa: PTH110, PTH111  as kubectl spells it


def _print_manifests(arguments: argparse.Namespace, images: Images) -> int:
    bundle = sound(arguments.paths, namespace=arguments.namespace or DEFAULT_NAMESPACE)
    for one in planned_without_cluster(bundle, images):
        for note in one.notes:
            complain(f"note: {one.resource}: {note}")
        for manifest in one.manifests:
            say("---")
            say_lines(yaml.safe_dump(manifest, sort_keys=False, width=120))
    return 0


def _print_difference(arguments: argparse.Namespace, images: Images) -> int:
    """The client library takes a third of a second to load, which nothing else here needs."""
    from endcap_cli import comparison  # noqa: PLC0415
    from endcap_cli.cluster import connected, current_namespace  # noqa: PLC0415

    namespace = arguments.namespace or current_namespace(arguments.kubeconfig, arguments.context)
    bundle = sound(arguments.paths, namespace=namespace or DEFAULT_NAMESPACE)
    with connected(arguments.kubeconfig, arguments.context) as cluster:
        complain(f"compared with {cluster.host}")
        changes = list(comparison.changes(bundle, cluster, images))
    for change in changes:
        for line in _shown(change):
            say(line)
    say(comparison.summary(changes))
    if any(change.refusal for change in changes):
        raise CommandError("the cluster would refuse this plan")
    return 0


def _shown(change: Any) -> Iterator[str]:
    if change.sign != "=":
        yield f"{change.sign} {change.verb} {change.object}"
    yield from (f"    {line}" for line in change.lines)
