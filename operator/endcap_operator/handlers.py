# SPDX-License-Identifier: Apache-2.0
"""kopf's only home: it informs, and decides nothing.

Its event handlers set no finalizer and no annotation, so nothing is ever written to a resource but its status. Its
other kinds of handler, its retries, its peering and its Events are not used; the queue and the writer are ours.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from typing import Any

import kopf

from endcap_operator.cluster import OURS, PATHS
from endcap_operator.manifests.identity import SELECTOR
from endcap_operator.metrics import Metrics
from endcap_operator.observe import LIST_CHUNK, WATCHED

Noticed = Callable[[dict[str, Any], bool], None]


class Endless:
    """Pauses between attempts, for ever: an API server that is away is no reason to end."""

    def __iter__(self) -> Iterator[float]:
        yield from (0.1, 0.5, 1.0, 2.0)
        while True:
            yield 5.0


class NoEssence(kopf.DiffBaseStorage):
    """Nothing of an object is kept to compare with: that would be three deep copies an event."""

    def build(self, **_: Any) -> Any:
        return {}

    def fetch(self, **_: Any) -> Any:
        return None

    def store(self, **_: Any) -> None:
        """Nothing to store."""


class NoProgress(kopf.ProgressStorage):
    """No handler has progress: each event is handled at once or not at all."""

    def fetch(self, **_: Any) -> Any:
        return None

    def store(self, **_: Any) -> None:
        """Nothing to store."""

    def purge(self, **_: Any) -> None:
        """Nothing to remove."""

    def touch(self, **_: Any) -> None:
        """Nothing to touch."""

    def clear(self, *, essence: Any) -> Any:
        return essence


async def inform(noticed: Noticed, namespaces: tuple[str, ...], metrics: Metrics) -> None:
    """Report every event of what is watched, until the process is told to end; `noticed` gets (object, deleted)."""
    scope: dict[str, Any] = {"namespaces": namespaces} if namespaces else {"clusterwide": True}
    # Of its own accord it would look up the user's name, which a pod's user does not have.
    scope["identity"] = socket.gethostname()
    await kopf.operator(
        registry=_registry(noticed, metrics),
        settings=_settings(),
        standalone=True,
        **scope,
    )


def _registry(noticed: Noticed, metrics: Metrics) -> kopf.OperatorRegistry:
    registry = kopf.OperatorRegistry()
    kopf.on.login(registry=registry)(_login)
    for kind in WATCHED:
        group, version, plural = _resource(kind)
        kopf.on.event(group, version, plural, registry=registry, id=kind)(_handler(kind, noticed, metrics))
    return registry


def _handler(kind: str, noticed: Noticed, metrics: Metrics) -> Callable[..., Any]:
    async def handle(event: Any, **_: Any) -> None:
        metrics.last_event.labels(kind=kind).set(time.time())
        noticed({**event["object"], "kind": kind}, event["type"] == "DELETED")

    return handle


def _resource(kind: str) -> tuple[str, str, str]:
    prefix, plural = PATHS[kind]
    _, *group, version = prefix.split("/")
    return "".join(group), version, plural


def _login(**arguments: Any) -> kopf.ConnectionInfo | None:
    return kopf.login_with_service_account(**arguments) or kopf.login_with_kubeconfig(**arguments)


def _settings() -> kopf.OperatorSettings:
    settings = kopf.OperatorSettings()
    settings.scanning.disabled = True
    settings.posting.enabled = False
    settings.persistence.diffbase_storage = NoEssence()
    settings.persistence.progress_storage = NoProgress()
    settings.watching.inactivity_timeout = 75.0
    settings.watching.chunk_size = LIST_CHUNK
    settings.networking.request_timeout = 30.0
    settings.networking.connect_timeout = 10.0
    settings.networking.error_backoffs = Endless()
    settings.process.ultimate_exiting_timeout = 20.0
    for kind in WATCHED:
        if kind not in OURS:
            group, _, plural = _resource(kind)
            settings.watching.label_selectors[group, plural] = SELECTOR
    return settings
