# SPDX-License-Identifier: Apache-2.0
"""The Service: one address for all replicas."""

from __future__ import annotations

from typing import Any

from endcap_operator.manifests.identity import PORT, Identity, manifest


def service(identity: Identity, name: str = "http", port: int = PORT) -> dict[str, Any]:
    """`name` is that of the container's port, and the protocol that is spoken there."""
    spoken = {"name": name, "port": port, "targetPort": name, "protocol": "TCP", "appProtocol": name}
    return manifest("v1", "Service", identity, spec={"selector": identity.labels, "ports": [spoken]})
