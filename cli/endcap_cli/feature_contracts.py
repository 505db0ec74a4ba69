# SPDX-License-Identifier: Apache-2.0
"""What graphs and models can know of the features of one namespace: pure, from the specs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from endcap_api.feature_checks import bundle_problems, missing_views, view_problems
from endcap_api.features_config import BundleContract, ViewConfig, ViewContract, bundle_contract
from endcap_api.v1alpha1.featurebundle import FeatureBundleSpec
from endcap_api.v1alpha1.featureview import FeatureViewSpec


@dataclass(frozen=True)
class Features:
    """Views and bundles that are sound, by name."""

    views: Mapping[str, FeatureViewSpec] = field(default_factory=dict)
    bundles: Mapping[str, FeatureBundleSpec] = field(default_factory=dict)

    @classmethod
    def of(cls, views: Mapping[str, FeatureViewSpec], bundles: Mapping[str, FeatureBundleSpec]) -> Features:
        sound = {name: spec for name, spec in views.items() if not view_problems(spec)}
        return cls(sound, {name: spec for name, spec in bundles.items() if _is_sound(spec, sound)})

    @property
    def bundle_contracts(self) -> dict[str, BundleContract]:
        configs = {name: ViewConfig(spec=spec) for name, spec in self.views.items()}
        return {name: bundle_contract(bundle, configs) for name, bundle in self.bundles.items()}

    @property
    def view_contracts(self) -> dict[str, ViewContract]:
        return {name: ViewContract.of(spec) for name, spec in self.views.items()}


def _is_sound(spec: FeatureBundleSpec, views: Mapping[str, FeatureViewSpec]) -> bool:
    return not missing_views(spec, views) and not bundle_problems(spec, views)
