# SPDX-License-Identifier: Apache-2.0
"""The ConfigMap that pods watch: of a graph the wanted configuration and the last that every replica confirmed, and of
whoever reads features what they are. That of an experiment is watched by nobody but the operator: what it decided.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from endcap_api.v1alpha1.base import Element
from endcap_operator.manifests.identity import Identity, manifest

WANTED = "graph.json"
LAST_GOOD = "last-good.json"
FEATURES = "features.json"
LAST_GOOD_FEATURES = "last-good-features.json"
RECORD = "record.json"
SERIES = "series.json"


def text_of(config: Element) -> str:
    return json.dumps(config.dump(), sort_keys=True, ensure_ascii=False)


def config_map(identity: Identity, data: Mapping[str, str]) -> dict[str, Any]:
    return manifest("v1", "ConfigMap", identity, data=dict(data))
