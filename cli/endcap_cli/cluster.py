# SPDX-License-Identifier: Apache-2.0
"""A cluster as commands reach it: reads, writes that the API server is told not to carry out, and the one edit that a
person asks for: of an experiment's own fields.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import urllib3
import yaml
from kubernetes import client
from kubernetes import config as _config

from endcap_api.v1alpha1.kinds import GROUP, KINDS, VERSION
from endcap_cli.terminal import CommandError

TIMEOUT_SECONDS = 10
SERVICE_SECONDS = 60
NOT_FOUND = 404
BUSY, ATTEMPTS, BUSY_SECONDS = 429, 10, 0.5
FAILURES = 400
Answered = tuple[int, dict[str, str], bytes]
config: Any = _config  # the library has no types
_PATHS = {
    **{kind.name: f"/apis/{GROUP}/{VERSION}/namespaces/{{}}/{kind.plural}" for kind in KINDS.values()},
    "ConfigMap": "/api/v1/namespaces/{}/configmaps",
    "Service": "/api/v1/namespaces/{}/services",
    "Deployment": "/apis/apps/v1/namespaces/{}/deployments",
    "PodDisruptionBudget": "/apis/policy/v1/namespaces/{}/poddisruptionbudgets",
    "PersistentVolumeClaim": "/api/v1/namespaces/{}/persistentvolumeclaims",
    "HorizontalPodAutoscaler": "/apis/autoscaling/v2/namespaces/{}/horizontalpodautoscalers",
}
APPLY, JSON_PATCH = "application/apply-patch+yaml", "application/json-patch+json"
_DRY_RUN = (("dryRun", "All"), ("fieldManager", "endcap"), ("force", "true"), ("fieldValidation", "Strict"))


class Refused(Exception):
    """The API server's own words, and its HTTP status."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Cluster:
    """The API server that a kubeconfig names."""

    def __init__(self, api: Any) -> None:
        self._api = api

    @property
    def host(self) -> str:
        return str(self._api.configuration.host)

    def get(self, kind: str, namespace: str, name: str) -> dict[str, Any] | None:
        """The object as it is; None where there is none. Raises Refused."""
        try:
            return self._call("GET", f"{_PATHS[kind].format(namespace)}/{name}")
        except Refused as refused:
            if refused.status == NOT_FOUND:
                return None
            raise

    def would_become(self, manifest: Mapping[str, Any]) -> dict[str, Any]:
        """What a server-side apply would make of an object; nothing is written. Raises Refused."""
        metadata = manifest["metadata"]
        path = f"{_PATHS[manifest['kind']].format(metadata['namespace'])}/{metadata['name']}"
        return self._call("PATCH", path, query=_DRY_RUN, body=manifest)

    def edit(self, kind: str, namespace: str, name: str, operations: Sequence[Mapping[str, Any]]) -> None:
        """Carry out a JSON patch (RFC 6902), as a whole or not at all. Raises Refused."""
        path = f"{_PATHS[kind].format(namespace)}/{name}"
        self._call("PATCH", path, body=list(operations), content=JSON_PATCH)

    def all_of(self, kind: str, namespace: str) -> list[dict[str, Any]]:
        """All objects of a kind in a namespace. Raises Refused."""
        return list(self._call("GET", _PATHS[kind].format(namespace))["items"])

    def proxy(self, namespace: str, service: str, port: int) -> Callable[..., Answered]:
        """Calls a Service through the API server: method, path, headers, body -> status, headers, body."""
        base = f"{self.host}/api/v1/namespaces/{namespace}/services/{service}:{port}/proxy"
        pool = self._api.rest_client.pool_manager

        def call(method: str, path: str, headers: Mapping[str, str], body: bytes | None) -> Answered:
            sent = {**headers, **self._authorization()}
            answer = pool.request(method, base + path, body=body, headers=sent, timeout=SERVICE_SECONDS)
            return answer.status, {k.lower(): v for k, v in answer.headers.items()}, answer.data

        return call

    def _authorization(self) -> dict[str, str]:
        token = self._api.configuration.auth_settings().get("BearerToken")
        return {token["key"]: token["value"]} if token else {}

    def _call(
        self, method: str, path: str, query: Any = (), body: Any = None, content: str = APPLY
    ) -> dict[str, Any]:
        headers = {"Accept": "application/json", "Content-Type": content}
        serialized = self._api.param_serialize(
            method,
            path,
            query_params=list(query),
            header_params=headers,
            body=body,
            auth_settings=["BearerToken"],
        )
        status, text = self._answered(serialized)
        if status >= FAILURES:
            raise Refused(status, _words(text))
        found: dict[str, Any] = json.loads(text)
        return found

    def _answered(self, serialized: Sequence[Any]) -> tuple[int, bytes]:
        """An API server that asks to wait, as it does for a moment when a CRD is new, is asked again."""
        for attempt in range(ATTEMPTS):
            answer = self._api.call_api(*serialized, _request_timeout=TIMEOUT_SECONDS)
            if answer.status != BUSY or attempt == ATTEMPTS - 1:
                break
            time.sleep(BUSY_SECONDS)
        return answer.status, answer.read()


def _words(text: bytes) -> str:
    try:
        return str(json.loads(text)["message"])
    except (ValueError, KeyError, TypeError):
        return text.decode(errors="replace")[:300]


def current_namespace(kubeconfig: str | None, context: str | None) -> str | None:
    """The namespace of the chosen context; None where no kubeconfig is found."""
    try:
        contexts, active = config.list_kube_config_contexts(kubeconfig)
    except (config.ConfigException, yaml.YAMLError):
        return None
    chosen = next((one for one in contexts if one["name"] == context), active)
    return str(chosen["context"].get("namespace") or "default")


@contextmanager
def connected(kubeconfig: str | None, context: str | None) -> Iterator[Cluster]:
    """The cluster of a kubeconfig; raises CommandError when it cannot be used or reached."""
    configuration = client.Configuration()
    configuration.retries = urllib3.Retry(0)
    try:
        config.load_kube_config(kubeconfig, context, configuration, persist_config=False)
        with client.ApiClient(configuration) as api:
            yield Cluster(api)
    except Refused as refused:
        raise CommandError(f"the cluster at {configuration.host} refuses: {refused}") from None
    except (config.ConfigException, yaml.YAMLError) as error:
        used = kubeconfig or os.environ.get("KUBECONFIG") or "~/.kube/config"
        remedy = "give a kubeconfig that is there with --kubeconfig, or plan without a cluster with --offline"
        raise CommandError(f"kubeconfig: {used}: {str(error).rstrip('.')}: {remedy}") from None
    except (urllib3.exceptions.HTTPError, OSError) as error:
        reason = str(getattr(error, "reason", error)).rpartition(": ")[2]
        raise CommandError(f"the cluster at {configuration.host} cannot be reached: {reason}") from None
