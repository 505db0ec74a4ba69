# SPDX-License-Identifier: Apache-2.0
"""An API server with the CRDs and the operator on it, which runs with the rights that the chart gives it.

No controller but the operator runs, so that every write in the audit log is a test's or the operator's.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from api_server import ApiServer, start
from endcap_cluster import audit, ports, tools
from kube import Client, checked, condition, eventually
from situations import PLATFORM

from endcap_api.v1alpha1.kinds import KINDS

ROOT = Path(__file__).parents[2]
NAMESPACE = "endcap-system"
ACCOUNT = f"system:serviceaccount:{NAMESPACE}:endcap-operator"


@dataclass
class Operated:
    """An API server and the operator's process; `log` is what it said."""

    server: ApiServer
    client: Client
    kubeconfig: Path
    log: Path
    process: subprocess.Popen[bytes] | None = None
    health: str = ""
    made: int = field(default=0)

    def namespace(self, **labels: str) -> str:
        """A new namespace that enforces the restricted Pod Security standard."""
        self.made += 1
        name = f"shop-{self.made}"
        enforced = {"pod-security.kubernetes.io/enforce": "restricted", **labels}
        self.client.create({"kind": "Namespace", "metadata": {"name": name, "labels": enforced}}, "")
        return name

    def start(self, *, patience: float = 30, **environment: str) -> None:
        port = ports.free(1)[0]
        self.health = f"http://127.0.0.1:{port}"
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-W", "error", "-m", "endcap_operator"],
                env={**_environment(self.kubeconfig, port), **environment},
                stderr=log,
                stdout=log,
            )
        eventually(self._known, "the operator knows the cluster", patience)

    def _known(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, self.log.read_text()[-4000:]
        return '"the cluster is known"' in self.log.read_text()

    def stop(self, number: int = signal.SIGTERM) -> int:
        """End the operator; its exit code."""
        assert self.process is not None
        self.process.send_signal(number)
        code = self.process.wait(timeout=20)
        self.process = None
        return code

    def restart(self, **environment: str) -> None:
        self.stop()
        self.log.write_text("")
        self.start(**environment)

    def writes(self, since: datetime | None = None) -> list[audit.Request]:
        """What the operator wrote."""
        return self.server.writes(user=ACCOUNT, since=since)

    def get(self, kind: str, namespace: str, name: str) -> dict[str, Any] | None:
        return self.client.get(kind, namespace, name)

    def says(  # noqa: PLR0913, PLR0917 - reads as a sentence
        self, kind: str, namespace: str, name: str, about: str, reason: str, seconds: float = 20
    ) -> dict[str, Any]:
        """The resource's condition once it has the reason for the newest generation."""

        def look() -> dict[str, Any] | None:
            manifest = self.get(kind, namespace, name) or {}
            found = condition(manifest, about)
            current = found.get("observedGeneration") == manifest.get("metadata", {}).get("generation")
            return found if found.get("reason") == reason and current else None

        try:
            return eventually(look, f"{kind} {name} {about} {reason}", seconds)
        except AssertionError as error:
            status = (self.get(kind, namespace, name) or {}).get("status")
            raise AssertionError(
                f"{error}; status {json.dumps(status)}; log {self.log.read_text()[-2000:]}"
            ) from None

    def quiet(self, seconds: float = 0.5, patience: float = 60) -> None:
        """Wait until the operator has written nothing for a while."""
        end = time.monotonic() + patience
        since = self.server.now()
        time.sleep(seconds)
        while found := self.writes(since):
            assert time.monotonic() < end, f"writes without end, e.g. {found[-3:]}"
            since = self.server.now()
            time.sleep(seconds)


def _environment(kubeconfig: Path, port: int) -> dict[str, str]:
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(kubeconfig.parent),
        "KUBECONFIG": str(kubeconfig),
        "ENDCAP_IMAGES": ",".join(f"{name}={image}" for name, image in PLATFORM.images.items()),
        "ENDCAP_S3_ENDPOINT": PLATFORM.s3_endpoint or "",
        "ENDCAP_ALLOWED_HOSTS": ",".join(PLATFORM.allowed_hosts),
        "ENDCAP_HEALTH_ADDRESS": f"127.0.0.1:{port}",
        "ENDCAP_RESYNC_SECONDS": "3600",
    }


def rendered(*arguments: str) -> list[dict[str, Any]]:
    """The chart's manifests for a release named endcap."""
    tools.install()
    command = [
        str(tools.HELM.path),
        "template",
        "endcap",
        str(ROOT / "charts/endcap"),
        f"--namespace={NAMESPACE}",
    ]
    text = subprocess.run([*command, *arguments], capture_output=True, text=True, check=True).stdout
    return [manifest for manifest in yaml.safe_load_all(text) if manifest]


def install_crds(client: Client) -> None:
    for file in sorted((ROOT / "crds").glob("*.yaml")):
        manifest = yaml.safe_load(file.read_text())
        path = f"apis/apiextensions.k8s.io/v1/customresourcedefinitions/{manifest['metadata']['name']}"
        checked(_applied(client, path, manifest))
    for kind in KINDS:
        eventually(lambda kind=kind: client.send("GET", client.path(kind)).is_success, f"{kind} is served")


def _applied(client: Client, path: str, manifest: dict[str, Any]) -> httpx.Response:
    return client.send(
        "PATCH",
        path,
        params={"fieldManager": "chart", "force": "true"},
        headers={"Content-Type": "application/apply-patch+yaml"},
        content=json.dumps(manifest),
    )


def install_rights(client: Client, *arguments: str) -> None:
    """The service account and the roles of the chart."""
    plurals = {
        "ServiceAccount": "api/v1/namespaces/{}/serviceaccounts",
        "ClusterRole": "apis/rbac.authorization.k8s.io/v1/clusterroles",
        "ClusterRoleBinding": "apis/rbac.authorization.k8s.io/v1/clusterrolebindings",
        "Role": "apis/rbac.authorization.k8s.io/v1/namespaces/{}/roles",
        "RoleBinding": "apis/rbac.authorization.k8s.io/v1/namespaces/{}/rolebindings",
    }
    for manifest in rendered(*arguments):
        if plural := plurals.get(manifest["kind"]):
            metadata = manifest["metadata"]
            path = f"{plural.format(metadata.get('namespace'))}/{metadata['name']}"
            checked(_applied(client, path, manifest))


def account_kubeconfig(client: Client, path: Path) -> Path:
    """A kubeconfig for the operator's service account."""
    request = {"spec": {"expirationSeconds": 86400}}
    where = f"api/v1/namespaces/{NAMESPACE}/serviceaccounts/endcap-operator/token"
    token = checked(client.send("POST", where, json=request))["status"]["token"]
    cluster = {"server": client.server, "certificate-authority-data": client.authority}
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "c", "cluster": cluster}],
        "users": [{"name": "u", "user": {"token": token}}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "x",
    }
    path.write_text(yaml.safe_dump(content))
    return path


def operated_in(directory: Path, *arguments: str, crds: bool = True) -> Operated:
    """A server with CRDs and rights; the operator is not started yet."""
    server = start(directory / "cluster")
    client = Client(server.kubeconfig)
    client.create({"kind": "Namespace", "metadata": {"name": NAMESPACE}}, "")
    if crds:
        install_crds(client)
    install_rights(client, *arguments)
    kubeconfig = account_kubeconfig(client, directory / "operator.kubeconfig")
    return Operated(server, client, kubeconfig, directory / "operator.log")


def end(world: Operated) -> None:
    if world.process is not None:
        world.stop()
    world.client.close()
    world.server.stop()


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Operated]:
    """One operator for the tests of a session, each in namespaces of its own."""
    operated = operated_in(tmp_path_factory.mktemp("operated"))
    operated.start()
    yield operated
    end(operated)
