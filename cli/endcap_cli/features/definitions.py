# SPDX-License-Identifier: Apache-2.0
"""The views and bundles that a command works on: from files, or from a namespace of the cluster."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from endcap_cli.feature_contracts import Features
from endcap_cli.validate import sound
from endcap_cli.workspace import within


def features_of(paths: Sequence[str] | None, arguments: argparse.Namespace) -> Features:
    """Those that are sound; raises CommandError where there are none to read."""
    if paths:
        return _of_files(paths, arguments)
    # The client of Kubernetes takes as long to load as everything else together.
    from endcap_cli.features.applied import features_in_cluster  # noqa: PLC0415

    return features_in_cluster(arguments)


def _of_files(paths: Sequence[str], arguments: argparse.Namespace) -> Features:
    workspace = sound(list(paths), namespace=arguments.namespace or "default")
    namespaces = {name.namespace for name in (*workspace.views, *workspace.bundles)}
    namespace = arguments.namespace or next(iter(sorted(namespaces)), "default")
    return Features.of(within(workspace.views, namespace), within(workspace.bundles, namespace))
