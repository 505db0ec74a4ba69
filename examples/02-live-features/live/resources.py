# SPDX-License-Identifier: Apache-2.0
"""What the YAML of this folder says, for whoever must agree with it."""

from pathlib import Path
from typing import Any

import yaml

from endcap_api.v1alpha1.featureview import FeatureViewSpec

EXAMPLE = Path(__file__).resolve().parents[1]


def specs(file: str) -> dict[tuple[str, str], dict[str, Any]]:
    """The spec of each resource of a file, by kind and name."""
    manifests = yaml.safe_load_all((EXAMPLE / file).read_text(encoding="utf-8"))
    return {(each["kind"], each["metadata"]["name"]): each["spec"] for each in manifests}


def view(name: str) -> FeatureViewSpec:
    return FeatureViewSpec.model_validate(specs("features.yaml")["FeatureView", name])
