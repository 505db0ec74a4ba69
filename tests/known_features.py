# SPDX-License-Identifier: Apache-2.0
"""The specs and contracts of what `view_refusals.surroundings` holds, as the operator would make them."""

from __future__ import annotations

from typing import Any

from view_refusals import known_bundles, known_views, surroundings

from endcap_api.features_config import BundleContract, ViewConfig, ViewContract, bundle_contract
from endcap_api.runtime_config import ModelContract
from endcap_api.v1alpha1.featurebundle import FeatureBundleSpec
from endcap_api.v1alpha1.featureview import FeatureViewSpec
from endcap_api.v1alpha1.inferencegraph import InferenceGraphSpec
from endcap_api.v1alpha1.modeldeployment import ModelDeploymentSpec
from endcap_api.validation import read


def view_of(manifest: dict[str, Any]) -> FeatureViewSpec:
    spec = read(manifest)
    assert isinstance(spec, FeatureViewSpec)
    return spec


def bundle_of(manifest: dict[str, Any]) -> FeatureBundleSpec:
    spec = read(manifest)
    assert isinstance(spec, FeatureBundleSpec)
    return spec


def graph_of(manifest: dict[str, Any]) -> InferenceGraphSpec:
    spec = read(manifest)
    assert isinstance(spec, InferenceGraphSpec)
    return spec


def model_of(manifest: dict[str, Any]) -> ModelDeploymentSpec:
    spec = read(manifest)
    assert isinstance(spec, ModelDeploymentSpec)
    return spec


VIEW_SPECS = {m["metadata"]["name"]: view_of(m) for m in known_views()}
CONFIGS = {name: ViewConfig(spec=spec) for name, spec in VIEW_SPECS.items()}
CONTRACTS: dict[str, BundleContract] = {
    m["metadata"]["name"]: bundle_contract(bundle_of(m), CONFIGS) for m in known_bundles()
}
WRITTEN = {name: ViewContract.of(spec) for name, spec in VIEW_SPECS.items()}
MODELS = {
    m["metadata"]["name"]: ModelContract.of(model_of(m), "http://x")
    for m in surroundings()
    if m["kind"] == "ModelDeployment"
}
