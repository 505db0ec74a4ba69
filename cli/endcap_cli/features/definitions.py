# SPDX-License-Identifier: Apache-2.0
"""The views and bundles that a command works on: from files, or from a namespace of the cluster."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from contextlib import suppress

from endcap_api.v1alpha1.kinds import parse
from endcap_cli.cluster import Cluster, Refused, connected, current_namespace
from endcap_cli.feature_contracts import Features
from endcap_cli.references import BUNDLE, VIEW
from endcap_cli.terminal import CommandError
from endcap_cli.validate import sound
from endcap_cli.workspace import within


def features_of(paths: Sequence[str] | None, arguments: argparse.Namespace) -> Features:
    """Those that are sound; raises CommandError where there are none to read."""
    if paths:
        return _of_files(paths, arguments)
    namespace = arguments.namespace or current_namespace(arguments.kubeconfig, arguments.context)
    if not namespace:
        raise CommandError("no definitions: give files or folders, or a cluster with --kubeconfig", status=2)
    with connected(arguments.kubeconfig, arguments.context) as cluster:
        return _of_cluster(cluster, namespace)


def _of_files(paths: Sequence[str], arguments: argparse.Namespace) -> Features:
    workspace = sound(list(paths), namespace=arguments.namespace or "default")
    namespaces = {name.namespace for name in (*workspace.views, *workspace.bundles)}
    namespace = arguments.namespace or next(iter(sorted(namespaces)), "default")
    return Features.of(within(workspace.views, namespace), within(workspace.bundles, namespace))


def _of_cluster(cluster: Cluster, namespace: str) -> Features:
    found: dict[str, dict[str, object]] = {VIEW: {}, BUNDLE: {}}
    try:
        for kind, specs in found.items():
            for manifest in cluster.all_of(kind, namespace):
                with suppress(ValueError):  # the operator says what is wrong with it
                    specs[manifest["metadata"]["name"]] = parse({"kind": kind, "spec": manifest["spec"]})
    except Refused as refused:
        raise CommandError(f"{cluster.host}: {refused}") from None
    return Features.of(found[VIEW], found[BUNDLE])  # type: ignore[arg-type]
