# SPDX-License-Identifier: Apache-2.0
"""`endcap plan`: what the operator would make of resources, by the operator's own planning."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator

import yaml

from endcap_cli import comparison
from endcap_cli.cluster import connected, current_namespace
from endcap_cli.planning import Images, planned_without_cluster
from endcap_cli.terminal import CommandError, complain, say, say_lines
from endcap_cli.validate import sound

DEFAULT_NAMESPACE = "default"


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
    workspace = sound(arguments.paths, namespace=arguments.namespace or DEFAULT_NAMESPACE)
    for one in planned_without_cluster(workspace, images):
        for note in one.notes:
            complain(f"note: {one.resource}: {note}")
        for manifest in one.manifests:
            say("---")
            say_lines(yaml.safe_dump(manifest, sort_keys=False, width=120))
    return 0


def _print_difference(arguments: argparse.Namespace, images: Images) -> int:
    namespace = arguments.namespace or current_namespace(arguments.kubeconfig, arguments.context)
    workspace = sound(arguments.paths, namespace=namespace or DEFAULT_NAMESPACE)
    with connected(arguments.kubeconfig, arguments.context) as cluster:
        complain(f"compared with {cluster.host}")
        changes = list(comparison.changes(workspace, cluster, images))
    for change in changes:
        for line in _shown(change):
            say(line)
    say(comparison.summary(changes))
    if any(change.refusal for change in changes):
        raise CommandError("the cluster would refuse this plan")
    return 0


def _shown(change: comparison.Change) -> Iterator[str]:
    if change.sign != "=":
        yield f"{change.sign} {change.verb} {change.object}"
    yield from (f"    {line}" for line in change.lines)
