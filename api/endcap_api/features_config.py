# SPDX-License-Identifier: Apache-2.0
"""What a feature sidecar and an ingest pod are told, and what a graph and a model know of a bundle."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from endcap_api.digest import digest_of
from endcap_api.experiment_config import MeasuredConfig
from endcap_api.feature_columns import FeatureColumn, columns_of
from endcap_api.v1alpha1.base import Element
from endcap_api.v1alpha1.featurebundle import FeatureBundleSpec
from endcap_api.v1alpha1.featureview import EntityKey, FeatureViewSpec, SourceKind


class StoreConfig(Element):
    """Where a store is. `prefix` begins all of its keys; `secret` names a folder under ENDCAP_SECRETS_DIR."""

    url: str
    cluster: bool = False
    secret: str | None = None
    prefix: str
    max_lag_ms: int
    max_backlog: int
    dead_letters: int
    serving_log: int | None = None


class ViewConfig(Element):
    """A view; `version` is that of the model behind a derived view, e.g. `micro-intent@4`."""

    spec: FeatureViewSpec
    version: str | None = None


class FeaturesConfig(Element):
    """All that a sidecar or an ingest pod needs to know; lives in a ConfigMap as features.json.

    A sidecar has the bundles that its graph or model names with the views and stores behind them, and the views that
    the graph writes back to; an ingest pod has the one store, all its views, the bundles of those views and the
    experiments that name the store, by name.
    """

    namespace: str
    stores: dict[str, StoreConfig]
    views: dict[str, ViewConfig]
    bundles: dict[str, FeatureBundleSpec]
    experiments: dict[str, MeasuredConfig] | None = None

    @property
    def revision(self) -> str:
        return digest_of(self.dump())

    def contract(self, bundle: str) -> BundleContract:
        """What whoever asks the pod for one of its bundles has to know of it."""
        logging = [name for name, store in self.stores.items() if store.serving_log]
        return bundle_contract(self.bundles[bundle], self.views, logging)


class BundleContract(Element):
    """What a graph or a model knows of a bundle. `digest` names its meaning: the same on both sides of a lookup.

    `served` says whether a store behind it keeps a serving log: where none does, a graph tells of no lookup.
    """

    entity: str
    keys: list[EntityKey]
    columns: list[FeatureColumn]
    required: bool = False
    served: bool = False
    digest: str


class ViewContract(Element):
    """What a graph knows of a view that it writes back to; `model` is the ModelDeployment whose result it keeps."""

    keys: list[EntityKey]
    columns: list[FeatureColumn]
    model: str | None = None
    kind: SourceKind = "derived"

    @classmethod
    def of(cls, view: FeatureViewSpec) -> ViewContract:
        model = view.source.derived.model if view.source.derived else None
        return cls(keys=view.entity.keys, columns=columns_of(view), model=model, kind=view.kind)


def prefix_of(namespace: str, store: str) -> str:
    """Begins the keys of a store, so that several can share a Redis: eight hexadecimal digits."""
    return digest_of([namespace, store])[:8]


def bundle_contract(
    bundle: FeatureBundleSpec, views: Mapping[str, ViewConfig], logging: Collection[str] = ()
) -> BundleContract:
    """Of a sound bundle whose views all exist (feature_checks says whether it is one).

    `logging` are the stores that keep a serving log.
    """
    entity = views[bundle.features[0].view].spec.entity
    columns = []
    for selected in bundle.features:
        known = {column.name: column for column in columns_of(views[selected.view].spec)}
        columns.append(known[selected.column].model_copy(update={"name": selected.known_as}))
    named = {name: views[name] for name in sorted({s.view for s in bundle.features})}
    served = any(view.spec.store in logging for view in named.values())
    return BundleContract(
        entity=entity.name,
        keys=entity.keys,
        columns=columns,
        required=bundle.required,
        served=served,
        digest=digest_of([bundle.dump(), {name: view.dump() for name, view in named.items()}, served]),
    )
