# SPDX-License-Identifier: Apache-2.0
"""A configuration compiled: its views and bundles, ready to be read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from rapidfuzz import process

from endcap_api.digest import digest_of
from endcap_api.feature_columns import columns_of
from endcap_api.features_config import FeaturesConfig
from endcap_api.v1alpha1.featurebundle import FeatureBundleSpec, Selected
from endcap_runtime.features.layout import InvalidView, View, compile_view
from endcap_runtime.features.lookup.bundles import Bundle, Part
from endcap_runtime.features.lookup.found import Read


class InvalidFeatures(ValueError):
    """The configuration cannot be served; the message names what is wrong with it."""


_NOW_MS = 1 << 41  # a moment of this century: views may take it that an epoch is longer ago than any window


@dataclass(frozen=True, slots=True)
class Compiled:
    """One revision of the configuration."""

    config: FeaturesConfig
    revision: str
    views: Mapping[str, View]
    bundles: Mapping[str, Bundle]

    def nearest(self, name: str) -> str | None:
        """The bundle that may have been meant."""
        found = process.extractOne(name, list(self.bundles), score_cutoff=60)
        return found[0] if found else None

    def warm(self) -> None:
        """Evaluates each bundle once, so that the first request finds numpy and the caches warm."""
        for bundle in self.bundles.values():
            keys = {k.name: ["0" if k.type == "string" else 0] for k in bundle.contract.keys}
            reads = [Read([None] * len(part), now_ms=_NOW_MS) for part in bundle.keys(keys)]
            bundle.found(reads)


def compile_features(config: FeaturesConfig) -> Compiled:
    """Raises InvalidFeatures. Takes milliseconds a view."""
    views = {name: _view(config, name) for name in config.views}
    bundles = {name: _bundle(config, views, name, spec) for name, spec in config.bundles.items()}
    return Compiled(config, config.revision, views, bundles)


def _view(config: FeaturesConfig, name: str) -> View:
    view = config.views[name]
    if view.spec.store not in config.stores:
        raise InvalidFeatures(f"view {name}: the store {view.spec.store} is not in the configuration")
    try:
        return compile_view(name, view, config.stores[view.spec.store].prefix)
    except InvalidView as error:
        raise InvalidFeatures(f"view {name}: {error}") from error


def _bundle(config: FeaturesConfig, views: Mapping[str, View], name: str, spec: FeatureBundleSpec) -> Bundle:
    for selected in spec.features:
        _refuse_unknown(config, name, selected)
    parts = [
        _part(config, views[view], spec.features) for view in dict.fromkeys(s.view for s in spec.features)
    ]
    return Bundle(name, config.contract(name), parts)


def _refuse_unknown(config: FeaturesConfig, bundle: str, selected: Selected) -> None:
    if selected.view not in config.views:
        raise InvalidFeatures(f"bundle {bundle}: the view {selected.view} is not in the configuration")
    known = [column.name for column in columns_of(config.views[selected.view].spec)]
    if selected.column not in known:
        raise InvalidFeatures(
            f"bundle {bundle}: the view {selected.view} has no column {selected.column}: {', '.join(known)}"
        )


def _part(config: FeaturesConfig, view: View, features: list[Selected]) -> Part:
    numbers = {column.name: number for number, column in enumerate(view.columns)}
    mine = [(place, numbers[s.column]) for place, s in enumerate(features) if s.view == view.name]
    store = digest_of(config.stores[config.views[view.name].spec.store].dump())
    return Part(view, store, tuple(number for _, number in mine), tuple(place for place, _ in mine))
