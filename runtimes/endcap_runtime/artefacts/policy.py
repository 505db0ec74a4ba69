# SPDX-License-Identifier: Apache-2.0
"""What an author asks for (`Source`) and what the platform grants (`Policy`), kept strictly apart.

Nothing in a Source can widen a Policy: the S3 endpoint, the hosts that may be inside the cluster and every
limit come from the platform alone.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from endcap_runtime.artefacts.errors import refused

_DIGEST = re.compile(r"[0-9a-f]{64}")
_NAME = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")
_MIB = 1024 * 1024


def resource_name(value: str, what: str) -> str:
    """The value, if it can name a Secret or a claim; anything else could leave its folder."""
    if not _NAME.fullmatch(value) or ".." in value:
        raise refused(f"{what} {value!r} is not a Kubernetes name: lower-case letters, digits, '-' and '.'")
    return value


@dataclass(frozen=True)
class Source:
    """An artefact as its author names it; `secret` is a folder under the policy's secrets directory."""

    uri: str
    sha256: str
    secret: str | None = None
    allow_pickle: bool = False

    def __post_init__(self) -> None:
        if not _DIGEST.fullmatch(self.sha256):
            message = (
                "sha256 must be the file's SHA-256, 64 lower-case hexadecimal digits (sha256sum prints it)"
            )
            raise refused(message)
        if self.secret is not None:
            resource_name(self.secret, "secret")


@dataclass(frozen=True)
class Limits:
    """How much an artefact may take: bytes, entries, and seconds."""

    packed_bytes: int = 4096 * _MIB
    extracted_bytes: int = 8192 * _MIB
    entries: int = 10_000
    ratio: int = 200
    ratio_from_bytes: int = 64 * _MIB
    connect_seconds: float = 5.0
    read_seconds: float = 20.0
    deadline_seconds: float = 900.0
    slow_seconds: float = 15.0
    slow_bytes_per_second: int = 4096
    attempts: int = 4
    backoff_seconds: float = 0.5
    redirects: int = 3


@dataclass(frozen=True)
class Policy:
    """What the platform allows a fetch to reach and to take.

    `allowed_hosts` holds `host` or `host:port` that may resolve to private addresses. `local_store` answers
    `s3://bucket/key` as `<local_store>/bucket/key` and is what makes `file://relative/path` legal, relative
    to `base` or else to it. `ca_file` replaces the public certificate authorities.
    """

    allowed_hosts: frozenset[str] = frozenset()
    s3_endpoint: str | None = None
    local_store: Path | None = None
    base: Path | None = None
    secrets_dir: Path = Path("/etc/endcap/secrets")
    pvc_dir: Path = Path("/etc/endcap/claims")
    ca_file: Path | None = None
    limits: Limits = field(default_factory=Limits)

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Policy:
        """The policy that the operator, or `endcap run`, wrote into a pod's environment."""
        hosts = environment.get("ENDCAP_ALLOWED_HOSTS", "").split(",")
        return cls(
            allowed_hosts=frozenset(host.strip().lower() for host in hosts if host.strip()),
            s3_endpoint=environment.get("ENDCAP_S3_ENDPOINT") or None,
            local_store=_folder(environment.get("ENDCAP_LOCAL_STORE")),
            secrets_dir=_folder(environment.get("ENDCAP_SECRETS_DIR")) or cls.secrets_dir,
            pvc_dir=_folder(environment.get("ENDCAP_PVC_DIR")) or cls.pvc_dir,
            ca_file=_folder(environment.get("SSL_CERT_FILE")),
        )


def _folder(value: str | None) -> Path | None:
    return Path(value) if value else None
