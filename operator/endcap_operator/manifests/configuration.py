# SPDX-License-Identifier: Apache-2.0
"""The ConfigMap that a graph's pods watch: the wanted configuration, and the last that every replica confirmed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from endcap_api.runtime_config import GraphConfig
from endcap_operator.manifests.identity import Identity, manifest

WANTED = "graph.json"
LAST_GOOD = "last-good.json"


def text_of(config: GraphConfig) -> str:
    return json.dumps(config.dump(), sort_keys=True, ensure_ascii=False)


def config_map(identity: Identity, data: Mapping[str, str]) -> dict[str, Any]:
    return manifest("v1", "ConfigMap", identity, data=dict(data))
