# SPDX-License-Identifier: Apache-2.0
"""How far the pods are from what the Deployment asks for, and what keeps them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from endcap_operator.keys import Manifest
from endcap_operator.manifests.deployment import TEMPLATE
from endcap_operator.plan.pods import Failure, Pod


@dataclass(frozen=True)
class Rollout:
    """`pods` that exist, `ready` of them, `wanted` in the end; `outdated` are of another `template` and replaced."""

    wanted: int
    pods: int
    ready: int
    outdated: int
    failure: Failure | None
    template: str = ""

    @property
    def complete(self) -> bool:
        return self.ready >= self.wanted and not self.outdated

    @property
    def counted(self) -> str:
        return f"{self.ready} of {self.wanted} pods ready"


def template_of(deployment: Manifest) -> str:
    annotations = deployment["spec"]["template"]["metadata"].get("annotations") or {}
    return str(annotations.get(TEMPLATE, ""))


def rollout(planned: Manifest, live: Manifest | None, pods: Sequence[Pod]) -> Rollout:
    template = template_of(planned)
    current = [pod for pod in pods if pod.template == template]
    ready = sum(pod.ready for pod in pods)
    wanted = _wanted(planned, live)
    short = sum(pod.ready for pod in current) < wanted
    return Rollout(
        wanted=wanted,
        pods=len(pods),
        ready=ready,
        outdated=len(pods) - len(current),
        failure=(_pod_failure(current) or _deployment_failure(live)) if short else None,
        template=template,
    )


def _wanted(planned: Manifest, live: Manifest | None) -> int:
    """With an autoscaler the live number is the wanted one."""
    spec = planned["spec"] if "replicas" in planned["spec"] else (live or planned)["spec"]
    return int(spec.get("replicas", 1))


def _pod_failure(pods: Iterable[Pod]) -> Failure | None:
    failed = (pod for pod in pods if pod.failure)
    return next(
        (
            Failure(pod.failure.reason, f"Pod {pod.name}: {pod.failure.message}")
            for pod in failed
            if pod.failure
        ),
        None,
    )


def _deployment_failure(live: Manifest | None) -> Failure | None:
    said = {c["type"]: c for c in (live or {}).get("status", {}).get("conditions") or ()}
    if said.get("ReplicaFailure", {}).get("status") == "True":
        return Failure("FailedCreate", _lasting(said["ReplicaFailure"], live or {}))
    if said.get("Progressing", {}).get("reason") == "ProgressDeadlineExceeded":
        return Failure("RolloutStuck", "The pods did not get ready in time")
    return None


def _lasting(said: dict[str, Any], live: Manifest) -> str:
    """Each attempt invents a name for the pod; a message that changes with it would be written for ever."""
    name = re.escape(live["metadata"]["name"])
    return re.sub(rf'"{name}-[^"]*"', f'"{live["metadata"]["name"]}"', str(said.get("message", "")))
