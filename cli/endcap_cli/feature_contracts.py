# SPDX-License-Identifier: Apache-2.0
"""What graphs, models and stores are told of the features in files: pure, from the specs of one namespace."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from endcap_api.feature_checks import bundle_problems, missing_views, view_problems
from endcap_api.features_config import (
    BundleContract,
    FeaturesConfig,
    StoreConfig,
    ViewConfig,
    ViewContract,
    bundle_contract,
)
from endcap_api.v1alpha1.featurebundle import FeatureBundleSpec
from endcap_api.v1alpha1.featureview import FeatureViewSpec


@dataclass(frozen=True)
class Features:
    """The sound views and bundles of a namespace, and where their stores are."""

    namespace: str
    stores: Mapping[str, StoreConfig] = field(default_factory=dict)
    views: Mapping[str, ViewConfig] = field(default_factory=dict)
    bundles: Mapping[str, FeatureBundleSpec] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        namespace: str,
        views: Mapping[str, FeatureViewSpec],
        bundles: Mapping[str, FeatureBundleSpec],
        versions: Mapping[str, str] | None = None,
        stores: Mapping[str, StoreConfig] | None = None,
    ) -> Features:
        """`versions` are those of the models behind derived views, e.g. `micro-intent@4`, by model."""
        sound = {name: spec for name, spec in views.items() if not view_problems(spec)}
        return cls(
            namespace,
            stores or {},
            {
                name: ViewConfig(spec=spec, version=_version(spec, versions or {}))
                for name, spec in sound.items()
            },
            {name: spec for name, spec in bundles.items() if _is_sound(spec, sound)},
        )

    def bundle_contracts(self, names: Iterable[str] | None = None) -> dict[str, BundleContract]:
        """Of all bundles, or of those of the given names that there are."""
        wanted = self.bundles if names is None else [name for name in names if name in self.bundles]
        return {name: bundle_contract(self.bundles[name], dict(self.views)) for name in wanted}

    def view_contracts(self, names: Iterable[str] | None = None) -> dict[str, ViewContract]:
        wanted = self.views if names is None else [name for name in names if name in self.views]
        return {name: ViewContract.of(self.views[name].spec) for name in wanted}

    def for_sidecar(self, bundles: Iterable[str], written: Iterable[str]) -> FeaturesConfig:
        """The bundles that a graph or a model names, the views behind them and those that are written back to."""
        asked = {name: self.bundles[name] for name in bundles}
        names = sorted({one.view for bundle in asked.values() for one in bundle.features} | set(written))
        views = {name: self.views[name] for name in names}
        stores = {view.spec.store: self.stores[view.spec.store] for view in views.values()}
        return FeaturesConfig(namespace=self.namespace, stores=stores, views=views, bundles=asked)

    def for_ingest(self, store: str) -> FeaturesConfig:
        """One store, all its views, and the bundles of those views alone."""
        views = {name: view for name, view in self.views.items() if view.spec.store == store}
        bundles = {
            name: bundle
            for name, bundle in self.bundles.items()
            if all(one.view in views for one in bundle.features)
        }
        stores = {store: self.stores[store]}
        return FeaturesConfig(namespace=self.namespace, stores=stores, views=views, bundles=bundles)


def _version(spec: FeatureViewSpec, versions: Mapping[str, str]) -> str | None:
    model = spec.source.derived.model if spec.source.derived else None
    return versions.get(model) if model else None


def _is_sound(spec: FeatureBundleSpec, views: Mapping[str, FeatureViewSpec]) -> bool:
    return not missing_views(spec, views) and not bundle_problems(spec, views)
