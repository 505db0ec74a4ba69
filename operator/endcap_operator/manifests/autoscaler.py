# SPDX-License-Identifier: Apache-2.0
"""The HorizontalPodAutoscaler: only where a range of replicas is asked for, and then it alone sets their number."""

from __future__ import annotations

from typing import Any

from endcap_api.v1alpha1.pods import Replicas, ScaleTarget
from endcap_operator.manifests.identity import Identity, manifest


def autoscales(replicas: Replicas) -> bool:
    return replicas.max is not None and replicas.max > replicas.min


def autoscaler(identity: Identity, replicas: Replicas) -> dict[str, Any]:
    target = replicas.target or ScaleTarget()
    cpu = {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": target.cpu}}
    spec = {
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": identity.child},
        "minReplicas": replicas.min,
        "maxReplicas": replicas.max,
        "metrics": [{"type": "Resource", "resource": cpu}],
    }
    return manifest("autoscaling/v2", "HorizontalPodAutoscaler", identity, spec=spec)
