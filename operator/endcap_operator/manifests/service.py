# SPDX-License-Identifier: Apache-2.0
"""The Service: one address for all replicas."""

from __future__ import annotations

from typing import Any

from endcap_operator.manifests.identity import PORT, Identity, manifest


def service(identity: Identity) -> dict[str, Any]:
    port = {"name": "http", "port": PORT, "targetPort": "http", "protocol": "TCP", "appProtocol": "http"}
    return manifest("v1", "Service", identity, spec={"selector": identity.labels, "ports": [port]})
