# SPDX-License-Identifier: Apache-2.0
"""What the operator would tell the processes of a namespace, but with stores and models where they are on this
machine: its own planning, so that a laptop and a cluster cannot differ.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from endcap_api.features_config import FeaturesConfig, StoreConfig
from endcap_api.runtime_config import GraphConfig, ModelConfig, ModelContract
from endcap_api.v1alpha1.featurestore import FeatureStoreSpec
from endcap_api.v1alpha1.inferencegraph import InferenceGraphSpec
from endcap_api.v1alpha1.modeldeployment import ModelDeploymentSpec
from endcap_cli.planning import referenced
from endcap_cli.references import GRAPH, MODEL, STORE
from endcap_cli.workspace import Workspace
from endcap_operator.keys import Key
from endcap_operator.manifests.features import store_config
from endcap_operator.manifests.identity import Identity
from endcap_operator.manifests.model import model_config
from endcap_operator.plan.facts import Observed
from endcap_operator.plan.features import features_config
from endcap_operator.plan.graph import graph_config
from endcap_operator.plan.model import joined_columns
from endcap_operator.plan.store import ingest_config


@dataclass(frozen=True)
class Told:
    """`stores` are where the stores of the namespace are."""

    namespace: str
    observed: Observed
    stores: Mapping[str, StoreConfig]

    @classmethod
    def of(
        cls,
        workspace: Workspace,
        namespace: str,
        stores: Mapping[str, StoreConfig],
        versions: Mapping[str, str],
    ) -> Told:
        """`versions` are those of the models that are served, by name; others are about to be."""
        known = referenced(workspace, namespace)
        for name, version in versions.items():
            key = Key(MODEL, namespace, name)
            known[key] = replace(known[key], version=version)
        return cls(namespace, Observed(resources=known), stores)

    def _identity(self, kind: str, name: str) -> Identity:
        return Identity(kind, self.namespace, name, "")

    def model(self, name: str, spec: ModelDeploymentSpec) -> ModelConfig:
        return model_config(self._identity(MODEL, name), spec, joined_columns(spec, self.observed))

    def graph(self, name: str, spec: InferenceGraphSpec, models: Mapping[str, ModelContract]) -> GraphConfig:
        config = graph_config(self._identity(GRAPH, name), spec, self.observed)
        return config.model_copy(update={"models": dict(models)})

    def sidecar(self, bundles: Iterable[str], views: Iterable[str]) -> FeaturesConfig:
        """Of a graph or a model that names these bundles and writes to these views."""
        return self._here(features_config(self.namespace, list(bundles), list(views), self.observed))

    def ingest(self, name: str, spec: FeatureStoreSpec) -> FeaturesConfig:
        return self._here(ingest_config(self._identity(STORE, name), spec, self.observed))

    def _here(self, config: FeaturesConfig) -> FeaturesConfig:
        return config.model_copy(update={"stores": {name: self.stores[name] for name in config.stores}})


def store_here(namespace: str, name: str, spec: FeatureStoreSpec, url: str | None) -> StoreConfig:
    """`url` is that of the Redis that stands for an embedded one, which wants no password; else as it is written."""
    config = store_config(namespace, name, spec)
    return config.model_copy(update={"url": url, "secret": None}) if url else config
