# SPDX-License-Identifier: Apache-2.0
"""The Secrets that experiments need: who knows one forces a variant, with the other units are made nameless.

Each is made once, with a text that nobody knows, and never read: the pods alone see it, as a file.
"""

from __future__ import annotations

from typing import Any

from endcap_operator.keys import Manifest
from endcap_operator.manifests.identity import Identity, manifest
from endcap_operator.manifests.pod import Mount, key_mount

FORCE_KEY = "forceKey"
FORCE_DIRECTORY = "/etc/endcap/force"
UNIT_KEY = "unitKey"
UNIT_KEY_DIRECTORY = "/etc/endcap/unit-key"


def force_mount(identity: Identity) -> Mount:
    """Optional: a graph without it answers as ever, and no header forces a variant."""
    return key_mount(identity.child, "force", FORCE_DIRECTORY, optional=True)


def unit_key_mount(identity: Identity) -> Mount:
    """Not optional: an exposure is kept under a name that only this key makes, or not at all."""
    return key_mount(identity.child, "unit-key", UNIT_KEY_DIRECTORY)


def blank_secret(identity: Identity) -> dict[str, Any]:
    return manifest("v1", "Secret", identity, stringData={})


def mounts(deployment: Manifest | None, secret: str) -> bool:
    """Whether the pods of a Deployment have the Secret already, so that it was made."""
    if deployment is None:
        return False
    volumes = deployment["spec"]["template"]["spec"].get("volumes") or ()
    return any((volume.get("secret") or {}).get("secretName") == secret for volume in volumes)
