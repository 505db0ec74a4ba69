# SPDX-License-Identifier: Apache-2.0
"""What the operator would tell the processes of a namespace, but with stores and models where they are on this
machine: its own planning, so that a laptop and a cluster cannot differ.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Protocol

from endcap_api.experiment_config import ExperimentConfig
from endcap_api.features_config import FeaturesConfig, StoreConfig
from endcap_api.runtime_config import GraphConfig, ModelConfig, ModelContract
from endcap_api.v1alpha1.experiment import ExperimentSpec
from endcap_api.v1alpha1.featurestore import FeatureStoreSpec
from endcap_api.v1alpha1.inferencegraph import InferenceGraphSpec
from endcap_api.v1alpha1.modeldeployment import ModelDeploymentSpec
from endcap_cli.planning import as_resource, referenced
from endcap_cli.references import EXPERIMENT, GRAPH, MODEL, STORE
from endcap_cli.workspace import Read, Workspace
from endcap_operator.keys import Key
from endcap_operator.manifests.configuration import RECORD
from endcap_operator.manifests.features import store_config
from endcap_operator.manifests.identity import Identity
from endcap_operator.manifests.model import model_config
from endcap_operator.plan.entry import plan_for
from endcap_operator.plan.experiment.overlay import overlaid_config
from endcap_operator.plan.facts import Measured, Observed, Plan
from endcap_operator.plan.features import features_config
from endcap_operator.plan.graph import graph_config
from endcap_operator.plan.model import joined_columns
from endcap_operator.plan.store import ingest_config
from endcap_operator.platform import Platform


class Decided(Protocol):
    """An experiment of the run, with what has been decided about it."""

    uid: str
    data: Mapping[str, str]


@dataclass(frozen=True)
class Here:
    """Where models and the ingests of stores are on this machine, by name."""

    models: Mapping[str, ModelContract]
    ingests: Mapping[str, str]


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
        models: Mapping[str, ModelConfig],
        decided: Mapping[str, Decided],
    ) -> Told:
        """`models` are those that are served, by name; others are about to be. `decided` are the experiments."""
        known = referenced(workspace, namespace)
        for name, model in models.items():
            key = Key(MODEL, namespace, name)
            known[key] = replace(known[key], version=model.version, sha256=model.artefact.sha256)
        for name, experiment in decided.items():
            key = Key(EXPERIMENT, namespace, name)
            known[key] = replace(known[key], uid=experiment.uid, record=experiment.data.get(RECORD))
        return cls(namespace, Observed(resources=known), stores)

    def _identity(self, kind: str, name: str) -> Identity:
        return Identity(kind, self.namespace, name, "")

    def model(self, name: str, spec: ModelDeploymentSpec) -> ModelConfig:
        return model_config(self._identity(MODEL, name), spec, joined_columns(spec, self.observed))

    def graph(
        self, name: str, spec: InferenceGraphSpec, before: GraphConfig | None, here: Here
    ) -> GraphConfig:
        """`before` is what is served, with the experiments as they were decided last."""
        bare = graph_config(self._identity(GRAPH, name), spec, self.observed)
        config = overlaid_config(bare, before, self.observed)
        experiments = {n: self._exposing(n, one, here) for n, one in (config.experiments or {}).items()}
        return config.model_copy(update={"models": dict(here.models), "experiments": experiments or None})

    def _exposing(self, name: str, config: ExperimentConfig, here: Here) -> ExperimentConfig:
        """To the ingest of its store as it is reached on this machine."""
        spec = self.observed.specs(ExperimentSpec)[name]
        return config.model_copy(update={"exposures": here.ingests[spec.store] if spec.store else None})

    def experiment(
        self, read: Read, uid: str, data: Mapping[str, str], measured: Measured, now_ms: int
    ) -> Plan:
        """The next step of its course; `data` is what was kept after the last."""
        resource = as_resource(read, uid)
        kept = {resource.identity.key("ConfigMap"): {"data": dict(data)}} if data else {}
        observed = replace(self.observed, children=kept, measured=measured, now_ms=now_ms)
        return plan_for(resource, observed, Platform({}))

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
