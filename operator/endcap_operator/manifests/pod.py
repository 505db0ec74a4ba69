# SPDX-License-Identifier: Apache-2.0
"""What every pod of the data plane has in common.

Non-root, read-only root, no capabilities, the runtime's default seccomp profile and no service-account token: what
runs here is code that a data scientist brought, and the namespace is its boundary.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from endcap_api.digest import digest_of
from endcap_api.v1alpha1.pods import Resources
from endcap_operator.manifests.identity import PORT
from endcap_operator.platform import Platform

ARTEFACTS = "/artefact"
SECRETS = "/etc/endcap/secrets"
CLAIMS = "/etc/endcap/claims"
SCRATCH = "/tmp"  # noqa: S108 - an emptyDir of the pod's own
USER = 65532
LOCKED_DOWN = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "readOnlyRootFilesystem": True,
}
STARTUP_SECONDS = 600


@dataclass(frozen=True)
class Mount:
    """A volume and where it is seen."""

    volume: dict[str, Any]
    path: str
    read_only: bool = True

    @property
    def mount(self) -> dict[str, Any]:
        seen = {"name": self.volume["name"], "mountPath": self.path}
        return {**seen, "readOnly": True} if self.read_only else seen


def scratch() -> list[Mount]:
    """Writable directories: the root file system is not."""
    return [
        Mount({"name": "tmp", "emptyDir": {"sizeLimit": "1Gi"}}, SCRATCH, read_only=False),
        Mount({"name": "artefact", "emptyDir": {"sizeLimit": "8Gi"}}, ARTEFACTS, read_only=False),
    ]


def sources(uri: str, secret: str | None) -> list[Mount]:
    """The Secret and the claim that an artefact is fetched with and from, read-only."""
    mounts = []
    if secret:
        mounts.append(secret_mount(secret, "secret"))
    if claim := claim_of(uri):
        volume = {"name": "claim", "persistentVolumeClaim": {"claimName": claim, "readOnly": True}}
        mounts.append(Mount(volume, f"{CLAIMS}/{claim}"))
    return mounts


def secret_mount(secret: str, volume: str | None = None) -> Mount:
    """A folder with a file for each key of the Secret."""
    named = volume or f"secret-{digest_of(secret)}"
    return Mount({"name": named, "secret": {"secretName": secret}}, f"{SECRETS}/{secret}")


def key_mount(secret: str, volume: str, path: str, *, optional: bool = False) -> Mount:
    """A Secret that the operator makes; an optional one may come and go without a pod that waits for it."""
    source = {"secretName": secret, **({"optional": True} if optional else {})}
    return Mount({"name": volume, "secret": source}, path)


def config_mount(config_map: str, volume: str, path: str) -> Mount:
    return Mount({"name": volume, "configMap": {"name": config_map}}, path)


def claim_of(uri: str) -> str | None:
    """`pvc://claim/path` names a claim of the same namespace."""
    scheme, _, rest = uri.partition("://")
    return rest.partition("/")[0] if scheme == "pvc" else None


def reach(platform: Platform) -> dict[str, str | None]:
    """Where a pod finds things and what it may talk to."""
    return {
        "ENDCAP_ARTEFACT_DIR": ARTEFACTS,
        "ENDCAP_SECRETS_DIR": SECRETS,
        "ENDCAP_PVC_DIR": CLAIMS,
        "ENDCAP_S3_ENDPOINT": platform.s3_endpoint,
        "ENDCAP_ALLOWED_HOSTS": ",".join(platform.allowed_hosts) or None,
        "BENTOML_DO_NOT_TRACK": "true",
        "BENTOML_HOME": f"{SCRATCH}/bentoml",
        **home(),
    }


def home() -> dict[str, str | None]:
    """The one place that can be written to."""
    return {"HOME": SCRATCH, "TMPDIR": SCRATCH}


def variables(values: dict[str, str | None]) -> list[dict[str, str]]:
    return [{"name": name, "value": value} for name, value in values.items() if value is not None]


def container(
    name: str, image: str, command: Sequence[str], env: list[dict[str, str]], mounts: Sequence[Mount]
) -> dict[str, Any]:
    return {
        "name": name,
        "image": image,
        "command": list(command),
        **({"env": env} if env else {}),
        "securityContext": LOCKED_DOWN,
        "volumeMounts": [mount.mount for mount in mounts],
        "terminationMessagePolicy": "File",
    }


def sized(resources: Resources) -> dict[str, Any]:
    """Memory is limited to what is requested; CPU is not limited, since throttling ruins latency."""
    return {
        "requests": {"cpu": resources.cpu, "memory": resources.memory},
        "limits": {"memory": resources.memory},
    }


def served() -> dict[str, Any]:
    """Port, probes and the pause that lets endpoints forget a pod before it stops."""
    live = {"httpGet": {"path": "/livez", "port": "http"}}
    ready = {"httpGet": {"path": "/readyz", "port": "http"}}
    return {
        "ports": [{"name": "http", "containerPort": PORT, "protocol": "TCP"}],
        "startupProbe": {
            **live,
            "periodSeconds": 1,
            "timeoutSeconds": 5,
            "failureThreshold": STARTUP_SECONDS,
        },
        "readinessProbe": {**ready, "periodSeconds": 1, "timeoutSeconds": 2, "failureThreshold": 2},
        "livenessProbe": {**live, "periodSeconds": 10, "timeoutSeconds": 10, "failureThreshold": 6},
        "lifecycle": {"preStop": {"sleep": {"seconds": 3}}},
    }
