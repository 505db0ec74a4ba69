# SPDX-License-Identifier: Apache-2.0
"""How objects are named: by kind, namespace and name, never by reference."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

Manifest = Mapping[str, Any]


class Key(NamedTuple):
    """One object of one kind."""

    kind: str
    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind} {self.namespace}/{self.name}"


def key_of(manifest: Manifest) -> Key:
    metadata = manifest["metadata"]
    return Key(manifest["kind"], metadata["namespace"], metadata["name"])


def controller_of(manifest: Manifest) -> Mapping[str, Any]:
    """The owner that controls an object; empty when there is none."""
    owners = manifest["metadata"].get("ownerReferences") or ()
    return next((owner for owner in owners if owner.get("controller")), {})
