# SPDX-License-Identifier: Apache-2.0
"""What the operator hands to the pods, and what the pods read: the only seam between the planes at run time."""

from __future__ import annotations

import re

from pydantic import Field

from endcap_api.digest import digest_of
from endcap_api.experiment_config import ExperimentConfig
from endcap_api.feature_columns import FeatureColumn
from endcap_api.features_config import BundleContract, ViewContract
from endcap_api.v1alpha1.base import Element
from endcap_api.v1alpha1.inferencegraph import InferenceGraphSpec
from endcap_api.v1alpha1.modeldeployment import Framework, ModelDeploymentSpec
from endcap_api.v1alpha1.values import Column

_SUFFIX = re.compile(r"\.(tar\.gz|tgz|zip|txt|skops|joblib|pkl|parquet)$")


def version_of(uri: str) -> str:
    """The version that an artefact's URI names: `s3://models/ranker/4.tar.gz` is `4`."""
    path = uri.split("?", 1)[0].rstrip("/")
    return _SUFFIX.sub("", path.rsplit("/", 1)[-1])


class ArtefactConfig(Element):
    """Where an artefact is and what it must be; `secret` names a folder under ENDCAP_SECRETS_DIR."""

    uri: str
    sha256: str
    secret: str | None = None
    allow_pickle: bool = False


class ModelFeaturesConfig(Element):
    """The bundle that a model joins to its inputs; `keys` names for each key of the entity the input that holds it.

    `columns` are what the model was deployed for: they are part of its contract, so they live in the pod template, and
    a sidecar that gives others is a failure of the lookup.
    """

    bundle: str
    keys: dict[str, str]
    columns: list[FeatureColumn]


class ModelConfig(Element):
    """All that a model pod needs to know; lives in its pod template."""

    name: str
    namespace: str
    framework: Framework
    artefact: ArtefactConfig
    entry_point: str | None = None
    preprocess: str | None = None
    postprocess: str | None = None
    inputs: list[Column]
    outputs: list[Column]
    max_batch_rows: int = Field(ge=1)
    max_latency_ms: int = Field(ge=1)
    features: ModelFeaturesConfig | None = None

    @property
    def version(self) -> str:
        return version_of(self.artefact.uri)

    @property
    def label(self) -> str:
        """Name and version as answers show them: `basket-ranker@4`."""
        return f"{self.name}@{self.version}"

    @property
    def revision(self) -> str:
        return digest_of(self.dump())


class ModelContract(Element):
    """What a graph needs to know of a model: where it is, what goes in and what comes out."""

    url: str
    inputs: list[Column]
    outputs: list[Column]

    @classmethod
    def of(cls, spec: ModelDeploymentSpec, url: str) -> ModelContract:
        return cls(url=url, inputs=spec.inputs, outputs=spec.outputs)


class GraphConfig(Element):
    """All that a graph pod needs to know; lives in the graph's ConfigMap.

    activate_at_ms: when every replica begins to serve it, in ms since 1970, so that all change at once; one that is
    later begins at once. None: each begins when it has it.
    """

    name: str
    namespace: str
    spec: InferenceGraphSpec
    models: dict[str, ModelContract]
    bundles: dict[str, BundleContract] | None = None
    views: dict[str, ViewContract] | None = None
    experiments: dict[str, ExperimentConfig] | None = None
    activate_at_ms: int | None = None

    @property
    def revision(self) -> str:
        """Names what is served: replicas, resources and descriptions of pods do not change it, nor when it begins."""
        value = self.dump()
        value.pop("activateAtMs", None)
        value["spec"].pop("replicas", None)
        value["spec"].pop("resources", None)
        return digest_of(value)

    @property
    def models_called(self) -> list[str]:
        return models_called(self.spec)


def models_called(spec: InferenceGraphSpec) -> list[str]:
    """The ModelDeployments that a graph names, sorted."""
    steps = {step.model_name for step in spec.steps}
    rungs = {rung.model for rung in spec.fallback or ()}
    return sorted(name for name in steps | rungs if name)


def bundles_named(spec: InferenceGraphSpec) -> list[str]:
    """The FeatureBundles that a graph names, sorted."""
    return sorted({step.features.bundle for step in spec.steps if step.features})


def views_written(spec: InferenceGraphSpec) -> list[str]:
    """The FeatureViews that a graph writes back to, sorted."""
    return sorted({each.view for each in spec.write_back or ()})
