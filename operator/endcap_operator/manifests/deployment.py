# SPDX-License-Identifier: Apache-2.0
"""The Deployment: replicas that are replaced one by one, each ready before the next."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from endcap_api.digest import digest_of
from endcap_api.v1alpha1.pods import Replicas
from endcap_operator.manifests.autoscaler import autoscales
from endcap_operator.manifests.identity import Identity, manifest
from endcap_operator.manifests.pod import STARTUP_SECONDS, USER, Mount

TEMPLATE = "endcap.dev/template"
ONE_BY_ONE = {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}}
# For pods of which two must never run at once, since they write to the same volume.
IN_TURN = {"type": "Recreate"}


def deployment(  # noqa: PLR0913 - a Deployment is made of that many things
    identity: Identity,
    replicas: Replicas,
    containers: Sequence[dict[str, Any]],
    mounts: Sequence[Mount],
    init: Sequence[dict[str, Any]] = (),
    *,
    strategy: Mapping[str, Any] = ONE_BY_ONE,
) -> dict[str, Any]:
    """`mounts` may name a volume several times.

    `spec.replicas` is left out where an autoscaler sets it: two masters would fight.
    """
    number = {} if autoscales(replicas) else {"replicas": replicas.min}
    spec = {
        **number,
        "selector": {"matchLabels": identity.labels},
        "strategy": strategy,
        "progressDeadlineSeconds": STARTUP_SECONDS,
        "revisionHistoryLimit": 2,
        "template": _template(identity, _pod(identity, containers, mounts, init)),
    }
    return manifest("apps/v1", "Deployment", identity, spec=spec)


def _template(identity: Identity, pod: dict[str, Any]) -> dict[str, Any]:
    """The digest tells a pod of this template from one of another without asking for its ReplicaSet."""
    return {
        "metadata": {"labels": identity.labels, "annotations": {TEMPLATE: digest_of(pod)}},
        "spec": pod,
    }


def _pod(
    identity: Identity,
    containers: Sequence[dict[str, Any]],
    mounts: Sequence[Mount],
    init: Sequence[dict[str, Any]],
) -> dict[str, Any]:
    pod = {
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": USER,
            "runAsGroup": USER,
            "fsGroup": USER,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "terminationGracePeriodSeconds": 30,
        "topologySpreadConstraints": [_spread(identity)],
        "containers": list(containers),
        "volumes": list({mount.volume["name"]: mount.volume for mount in mounts}.values()),
    }
    return {**pod, "initContainers": list(init)} if init else pod


def _spread(identity: Identity) -> dict[str, Any]:
    return {
        "maxSkew": 1,
        "topologyKey": "kubernetes.io/hostname",
        "whenUnsatisfiable": "ScheduleAnyway",
        "labelSelector": {"matchLabels": identity.labels},
    }
