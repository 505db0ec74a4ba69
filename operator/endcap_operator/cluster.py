# SPDX-License-Identifier: Apache-2.0
"""The connection to the API server that reading and writing share: paths, identity, errors, counts.

Requests are made by path instead of by discovery: the kinds are few and known, and a start without discovery is a
start that a half-broken aggregated API cannot hold up.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import aiohttp
from kubernetes.aio import client, config
from kubernetes.aio.client.exceptions import ApiException

from endcap_api.v1alpha1.kinds import GROUP, KINDS, VERSION
from endcap_operator.keys import Key
from endcap_operator.metrics import Metrics

USER_AGENT = f"endcap-operator/{version('endcap')}"
TIMEOUT_SECONDS = 15.0
APPLY = "application/apply-patch+yaml"
MERGE = "application/merge-patch+json"
JSON_PATCH = "application/json-patch+json"
OURS = {kind.name: (f"apis/{GROUP}/{VERSION}", kind.plural) for kind in KINDS.values()}
PATHS = {
    **OURS,
    "ConfigMap": ("api/v1", "configmaps"),
    "Deployment": ("apis/apps/v1", "deployments"),
    "Event": ("apis/events.k8s.io/v1", "events"),
    "HorizontalPodAutoscaler": ("apis/autoscaling/v2", "horizontalpodautoscalers"),
    "PersistentVolumeClaim": ("api/v1", "persistentvolumeclaims"),
    "Pod": ("api/v1", "pods"),
    "PodDisruptionBudget": ("apis/policy/v1", "poddisruptionbudgets"),
    "ReplicaSet": ("apis/apps/v1", "replicasets"),
    "Secret": ("api/v1", "secrets"),
    "Service": ("api/v1", "services"),
}


class ClusterError(Exception):
    """The API server's answer to a request that it did not grant; `code` is the HTTP status."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message

    @property
    def gone(self) -> bool:
        return self.code == 404  # noqa: PLR2004

    @property
    def exists(self) -> bool:
        return self.code == 409  # noqa: PLR2004

    @property
    def stale(self) -> bool:
        """What we knew is no longer so: look again."""
        return self.code in (404, 409, 410)

    @property
    def ending(self) -> bool:
        """The namespace is on its way out, and takes everything with it."""
        return self.code == 403 and "is being terminated" in self.message  # noqa: PLR2004

    @property
    def invalid(self) -> bool:
        """The object that would come of it is not valid."""
        return self.code == 422  # noqa: PLR2004

    @property
    def refused(self) -> bool:
        """The request itself is the matter, e.g. for a quota, a policy or a missing right."""
        return self.code in (400, 403, 422)


class UnreachableError(Exception):
    """No answer from the API server."""


def path_of(kind: str, namespace: str | None = None, name: str | None = None, subresource: str = "") -> str:
    prefix, plural = PATHS[kind]
    where = f"/namespaces/{namespace}" if namespace else ""
    return "/".join(filter(None, (f"/{prefix}{where}/{plural}", name, subresource)))


def path_to(key: Key, subresource: str = "") -> str:
    return path_of(key.kind, key.namespace, key.name, subresource)


@dataclass(frozen=True)
class Cluster:
    """Sends requests; raises ClusterError for a refusal and UnreachableError where there is no answer."""

    api: Any
    metrics: Metrics

    async def request(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None = None,
        body: Mapping[str, Any] | list[Any] | None = None,
        content_type: str = "application/json",
    ) -> dict[str, Any]:
        headers = {"Accept": "application/json", "Content-Type": content_type}
        serialized = await self.api.param_serialize(
            method,
            path,
            query_params=list((query or {}).items()),
            header_params=headers,
            body=body,
            auth_settings=["BearerToken"],
        )
        try:
            answer = await self.api.call_api(*serialized, _request_timeout=TIMEOUT_SECONDS)
            text = await answer.read()
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            self.metrics.api_requests.labels(code="none", method=method).inc()
            raise UnreachableError(f"{method} {path}: {type(error).__name__} {error}") from error
        except ApiException as error:
            self.metrics.api_requests.labels(code=str(error.status), method=method).inc()
            raise ClusterError(error.status or 0, _message(error.body)) from error
        self.metrics.api_requests.labels(code=str(answer.status), method=method).inc()
        if answer.status >= 400:  # noqa: PLR2004
            raise ClusterError(answer.status, _message(text))
        return dict(json.loads(text))


def _message(text: bytes | str | None) -> str:
    try:
        return str(json.loads(text or "")["message"])
    except (ValueError, KeyError, TypeError):
        return str(text)[:500]


@asynccontextmanager
async def connected(metrics: Metrics) -> AsyncIterator[Cluster]:
    """With the service account inside a cluster, with the kubeconfig outside."""
    configuration = client.Configuration()
    try:
        config.load_incluster_config(configuration)  # type: ignore[no-untyped-call]
    except config.ConfigException:
        await config.load_kube_config(client_configuration=configuration)  # type: ignore[no-untyped-call]
    async with client.ApiClient(configuration) as api:
        api.user_agent = USER_AGENT
        yield Cluster(api, metrics)
