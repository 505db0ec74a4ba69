# SPDX-License-Identifier: Apache-2.0
"""Whether a model can take the features that its pod joins to its inputs."""

from __future__ import annotations

from collections.abc import Iterator

from endcap_api.features_config import BundleContract
from endcap_api.nearest import did_you_mean
from endcap_api.problem import Problem
from endcap_api.v1alpha1.featureview import EntityKey
from endcap_api.v1alpha1.modeldeployment import ModelDeploymentSpec, ModelFeatures
from endcap_api.wiring import Bundles

_HOLDS = {"string": ("string", "product"), "integer": ("integer",)}
_NUMERIC = ("integer", "number", "boolean")


def missing_model_bundle(spec: ModelDeploymentSpec, bundles: Bundles) -> str | None:
    """The FeatureBundle that a model names, when it does not exist."""
    return spec.features.bundle if spec.features and spec.features.bundle not in bundles else None


def model_feature_problems(spec: ModelDeploymentSpec, bundles: Bundles) -> list[Problem]:
    """Every problem between a model and its bundle, when the bundle exists."""
    contract = bundles.get(spec.features.bundle) if spec.features else None
    if spec.features is None or contract is None:
        return []
    return [
        *_key_problems(spec, spec.features, contract),
        *_column_problems(spec, contract),
    ]


def _key_problems(
    spec: ModelDeploymentSpec, features: ModelFeatures, contract: BundleContract
) -> Iterator[Problem]:
    names = [key.name for key in contract.keys]
    for name in sorted(set(features.keys) - set(names)):
        yield Problem(
            f"spec.features.keys.{name}",
            f"is no key of the entity of bundle {features.bundle}: {did_you_mean(name, names)}",
        )
    for key in contract.keys:
        if key.name not in features.keys:
            yield Problem(
                "spec.features.keys",
                f"the entity of bundle {features.bundle} needs the key {key.name}: add the input that holds it",
            )
        else:
            yield from _type_problems(spec, key, features.keys[key.name])


def _type_problems(spec: ModelDeploymentSpec, key: EntityKey, name: str) -> Iterator[Problem]:
    held = next((column.type for column in spec.inputs if column.name == name), None)
    if held is not None and held not in _HOLDS[key.type]:
        yield Problem(
            f"spec.features.keys.{key.name}",
            f"input {name} is of type {held}, and the key of type {key.type}: name an input of type "
            f"{' or '.join(_HOLDS[key.type])}",
        )


def _column_problems(spec: ModelDeploymentSpec, contract: BundleContract) -> Iterator[Problem]:
    inputs = {column.name for column in spec.inputs}
    for column in contract.columns:
        if column.name in inputs:
            yield Problem(
                "spec.features.bundle",
                f"its feature {column.name} has the name of an input: rename one, in the bundle by name",
            )
    matrix = spec.framework != "python" and spec.preprocess is None
    texts = [column.name for column in contract.columns if column.type not in _NUMERIC]
    if matrix and texts:
        yield Problem(
            "spec.features.bundle",
            f"framework {spec.framework} takes numbers, and {', '.join(texts)} is none: add a preprocess hook, or name "
            "a bundle without it",
        )
