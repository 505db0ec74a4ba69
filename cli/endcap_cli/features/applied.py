# SPDX-License-Identifier: Apache-2.0
"""The views and bundles of a namespace of the cluster."""

from __future__ import annotations

import argparse
from contextlib import suppress
from typing import TypeVar

from endcap_api.v1alpha1.base import Element
from endcap_api.v1alpha1.featurebundle import FeatureBundleSpec
from endcap_api.v1alpha1.featureview import FeatureViewSpec
from endcap_api.v1alpha1.kinds import parse
from endcap_cli.cluster import Cluster, connected, current_namespace
from endcap_cli.feature_contracts import Features
from endcap_cli.references import BUNDLE, VIEW
from endcap_cli.terminal import CommandError

_Spec = TypeVar("_Spec", bound=Element)


def features_in_cluster(arguments: argparse.Namespace) -> Features:
    """Raises CommandError where there is no cluster to ask."""
    namespace = arguments.namespace or current_namespace(arguments.kubeconfig, arguments.context)
    if not namespace:
        raise CommandError("no definitions: give files or folders, or a cluster with --kubeconfig", status=2)
    with connected(arguments.kubeconfig, arguments.context) as cluster:
        views = _specs(cluster, VIEW, namespace, FeatureViewSpec)
        return Features.of(views, _specs(cluster, BUNDLE, namespace, FeatureBundleSpec))


def _specs(cluster: Cluster, kind: str, namespace: str, of: type[_Spec]) -> dict[str, _Spec]:
    """Of those that can be read; the operator says what is wrong with the others."""
    found = {}
    for manifest in cluster.all_of(kind, namespace):
        with suppress(ValueError):
            spec = parse({"kind": kind, "spec": manifest["spec"]})
            if isinstance(spec, of):
                found[manifest["metadata"]["name"]] = spec
    return found
