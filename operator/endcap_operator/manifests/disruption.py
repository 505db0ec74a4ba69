# SPDX-License-Identifier: Apache-2.0
"""The PodDisruptionBudget: a drained node takes one replica at a time."""

from __future__ import annotations

from typing import Any

from endcap_operator.manifests.identity import Identity, manifest


def disruption_budget(identity: Identity) -> dict[str, Any]:
    spec = {"maxUnavailable": 1, "selector": {"matchLabels": identity.labels}}
    return manifest("policy/v1", "PodDisruptionBudget", identity, spec=spec)
