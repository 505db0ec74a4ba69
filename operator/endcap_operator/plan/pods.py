# SPDX-License-Identifier: Apache-2.0
"""What a pod says about itself, reduced to what decisions rest on."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from endcap_operator.keys import Manifest
from endcap_operator.manifests.deployment import TEMPLATE
from endcap_operator.manifests.identity import COMPONENT

REVISION = "endcap.dev/revision"
_STARTING = frozenset({"ContainerCreating", "PodInitializing"})
_PULLING = frozenset({"ImagePullBackOff", "ErrImagePull", "InvalidImageName", "ErrImageNeverPull"})


@dataclass(frozen=True)
class Failure:
    """What is amiss, in one CamelCase word and a sentence; `cause` is the reason behind it that a remedy is for."""

    reason: str
    message: str
    cause: str = ""


@dataclass(frozen=True)
class Rejection:
    """A revision that a graph pod refused."""

    revision: str
    reason: str
    message: str


@dataclass(frozen=True)
class Serving:
    """What a pod answered when it was asked for its revision; of a graph also which revision of each experiment."""

    revision: str | None
    rejected: Rejection | None = None
    experiments: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Pod:
    """`template` is the digest of the template that it was made from; `serving` is None when it did not answer.

    `overdue` says that the pod was nudged a while ago and should have noticed.
    """

    name: str
    namespace: str
    uid: str
    address: str | None
    ready: bool
    running: bool
    template: str | None
    nudged: str | None
    environment: str | None = None
    failure: Failure | None = None
    serving: Serving | None = None
    overdue: bool = False
    component: str = ""


def pod_of(manifest: Manifest, variable: str | None = None) -> Pod:
    """`variable` names the environment variable of the first container that is kept."""
    metadata, status = manifest["metadata"], manifest.get("status", {})
    annotations = metadata.get("annotations") or {}
    ready = _condition(status, "Ready").get("status") == "True"
    return Pod(
        name=metadata["name"],
        namespace=metadata["namespace"],
        uid=metadata["uid"],
        address=status.get("podIP"),
        ready=ready,
        running=any("running" in c.get("state", {}) for c in status.get("containerStatuses") or ()),
        template=annotations.get(TEMPLATE),
        nudged=annotations.get(REVISION),
        environment=_variable(manifest, variable) if variable else None,
        failure=None if ready else _failure(status),
        component=(metadata.get("labels") or {}).get(COMPONENT, ""),
    )


def _condition(status: Manifest, kind: str) -> dict[str, Any]:
    return next((c for c in status.get("conditions") or () if c.get("type") == kind), {})


def _variable(manifest: Manifest, name: str) -> str | None:
    containers: list[Manifest] = manifest.get("spec", {}).get("containers") or []
    variables = (v for container in containers[:1] for v in container.get("env") or ())
    return next((v.get("value") for v in variables if v.get("name") == name), None)


def _failure(status: Manifest) -> Failure | None:
    scheduled = _condition(status, "PodScheduled")
    if scheduled.get("status") == "False" and scheduled.get("reason") == "Unschedulable":
        return Failure("Unschedulable", scheduled.get("message", ""))
    if status.get("phase") == "Failed":
        return Failure(status.get("reason") or "PodFailed", status.get("message", ""))
    return next(filter(None, map(_container_failure, _containers(status))), None)


def _containers(status: Manifest) -> Iterator[Manifest]:
    yield from status.get("initContainerStatuses") or ()
    yield from status.get("containerStatuses") or ()


def _container_failure(container: Manifest) -> Failure | None:
    """Of a container that ended badly, how it ended; of one that waits for something bad, what it waits for."""
    state, last = container.get("state", {}), container.get("lastState", {})
    ended = state.get("terminated") or last.get("terminated") or {}
    if ended.get("exitCode"):
        return _ended(container["name"], ended)
    reason = state.get("waiting", {}).get("reason")
    if reason in _PULLING:
        return Failure("ImagePullFailed", f"image {container.get('image')} cannot be pulled")
    if reason and reason not in _STARTING:
        return Failure(reason, state["waiting"].get("message", ""))
    return None


def _ended(name: str, ended: Manifest) -> Failure:
    if ended.get("reason") == "OOMKilled":
        return Failure("OOMKilled", f"container {name} needed more memory than its limit")
    said = _said(ended.get("message") or "")
    return said or Failure("CrashLoop", f"container {name} ended with exit code {ended['exitCode']}")


def _said(message: str) -> Failure | None:
    """Our own containers say why in JSON; whatever else stands there is not repeated to users."""
    try:
        said = json.loads(message)
        return Failure(str(said["reason"])[:64], str(said["message"]))
    except (ValueError, KeyError, TypeError):
        return None
