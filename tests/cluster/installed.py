# SPDX-License-Identifier: Apache-2.0
"""The CRDs on a real API server, and kubectl in front of it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from api_server import ApiServer
from endcap_cluster import kubectl
from endcap_cluster.errors import ClusterError

from endcap_api.v1alpha1.kinds import KINDS

CRDS = Path(__file__).parents[2] / "crds"
Kubectl = Callable[..., str]


@pytest.fixture(scope="module")
def kube(api_server: ApiServer) -> Iterator[Kubectl]:
    def run(*arguments: str, manifest: Any = None) -> str:
        stdin = None if manifest is None else json.dumps(manifest)
        return kubectl.run(api_server.kubeconfig, *arguments, stdin=stdin)

    run("apply", "--server-side", f"--filename={CRDS}")
    run("wait", "--for=condition=Established", f"--filename={CRDS}", "--timeout=30s")
    run("get", ",".join(kind.plural for kind in KINDS.values()))
    yield run
    run("delete", "--ignore-not-found", f"--filename={CRDS}", "--timeout=30s")


def answer(kube: Kubectl, *arguments: str, manifest: dict[str, Any]) -> str:
    """What kubectl says; the refusal's words when it is one."""
    try:
        return kube(*arguments, "--filename=-", manifest=manifest)
    except ClusterError as error:
        return f"refused: {error}"


def dry_run(kube: Kubectl, manifest: dict[str, Any]) -> str:
    return answer(kube, "apply", "--dry-run=server", manifest=manifest)
