# SPDX-License-Identifier: Apache-2.0
"""Values of the API: durations, versions, digests, and what names a revision."""

from __future__ import annotations

import json
from typing import Any

import pytest
from builders import changed, graph, intent, ranker, recaller
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from endcap_api.graph_checks import cluster_problems
from endcap_api.runtime_config import (
    ArtefactConfig,
    GraphConfig,
    ModelConfig,
    ModelContract,
    digest_of,
    models_called,
    version_of,
)
from endcap_api.v1alpha1.base import milliseconds
from endcap_api.v1alpha1.inferencegraph import InferenceGraphSpec
from endcap_api.v1alpha1.kinds import parse
from endcap_api.v1alpha1.modeldeployment import ModelDeploymentSpec
from endcap_api.v1alpha1.pods import Replicas


def model_spec(manifest: dict[str, Any]) -> ModelDeploymentSpec:
    spec = parse(manifest)
    assert isinstance(spec, ModelDeploymentSpec)
    return spec


def graph_spec(manifest: dict[str, Any]) -> InferenceGraphSpec:
    spec = parse(manifest)
    assert isinstance(spec, InferenceGraphSpec)
    return spec


def graph_config(manifest: dict[str, Any]) -> GraphConfig:
    models = {m["metadata"]["name"]: model_spec(m) for m in (intent(), recaller(), ranker())}
    contracts = {name: ModelContract.of(spec, f"http://{name}") for name, spec in models.items()}
    return GraphConfig(name="basket", namespace="shop", spec=graph_spec(manifest), models=contracts)


def model_config(**changes: Any) -> ModelConfig:
    spec = model_spec(ranker())
    values = {
        "name": "basket-ranker",
        "namespace": "shop",
        "framework": spec.framework,
        "artefact": ArtefactConfig(uri=spec.model.uri, sha256=spec.model.sha256),
        "inputs": spec.inputs,
        "outputs": spec.outputs,
        "max_batch_rows": 64,
        "max_latency_ms": 2,
    }
    return ModelConfig(**{**values, **changes})


@pytest.mark.parametrize(("text", "number"), [("1ms", 1), ("150ms", 150), ("2s", 2_000), ("10m", 600_000)])
def test_durations_are_whole_milliseconds(text: str, number: int) -> None:
    assert milliseconds(text) == number


@pytest.mark.parametrize(
    ("uri", "version"),
    [
        ("s3://models/basket-ranker/4.tar.gz", "4"),
        ("s3://models/basket-ranker/4", "4"),
        ("s3://models/ranker/2026-11-24.txt", "2026-11-24"),
        ("https://host/models/v1.2.skops?token=x/y.zip", "v1.2"),
        ("pvc://claim/ranker/7.zip", "7"),
        ("file://store/ranker/7.tgz", "7"),
        ("s3://models/ranker/4.gz", "4.gz"),
        ("s3://models/catalogue/3.parquet", "3"),
    ],
)
def test_the_last_segment_of_the_uri_is_the_version(uri: str, version: str) -> None:
    assert version_of(uri) == version


@given(st.dictionaries(st.text(), st.integers() | st.text() | st.lists(st.integers())))
def test_the_order_of_keys_does_not_change_a_digest(value: dict[str, Any]) -> None:
    backwards = dict(reversed(value.items()))
    assert digest_of(value) == digest_of(backwards)
    assert len(digest_of(value)) == 12


def test_a_configuration_survives_its_journey_as_json() -> None:
    config = graph_config(graph())
    again = GraphConfig.model_validate_json(json.dumps(config.dump(), sort_keys=True))
    assert again == config
    assert again.revision == config.revision
    model = model_config()
    assert ModelConfig.model_validate_json(json.dumps(model.dump())) == model


@pytest.mark.parametrize(
    ("path", "value"),
    [("spec.replicas", {"min": 3}), ("spec.resources", {"cpu": "2"}), ("spec.resources", {"memory": "1Gi"})],
)
def test_what_pods_do_not_serve_does_not_change_a_revision(path: str, value: Any) -> None:
    assert graph_config(changed(graph(), path, value)).revision == graph_config(graph()).revision


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("spec.steps[4].limit.max", 3),
        ("spec.deadline", "151ms"),
        ("spec.api.request.limit.default", 9),
        ("spec.description", "Another"),
        ("spec.limits", {"concurrency": 65}),
        ("spec.catalogue.sha256", "f" * 64),
    ],
)
def test_what_pods_serve_changes_a_revision(path: str, value: Any) -> None:
    assert graph_config(changed(graph(), path, value)).revision != graph_config(graph()).revision


def test_a_model_is_labelled_by_name_and_version() -> None:
    assert model_config().label == "basket-ranker@4"
    assert model_config().revision != model_config(max_batch_rows=65).revision


def test_the_models_of_a_graph_are_those_of_its_steps_and_its_fallback() -> None:
    spec = graph_spec(changed(graph(), "spec.fallback[0]", {"model": "popularity"}))
    assert models_called(spec) == ["basket-ranker", "item-cooccurrence", "micro-intent", "popularity"]


def test_steps_know_what_a_failure_does_by_their_kind() -> None:
    failures = {step.name: step.failure for step in graph_spec(graph()).steps}
    assert failures == {
        "intent": "skip",
        "together": "skip",
        "rank": "keepOrder",
        "not-in-cart": "fail",
        "variety": "skip",
        "top": "fail",
    }


def test_files_of_one_machine_are_no_place_for_a_cluster() -> None:
    model = changed(ranker(), "spec.model.uri", "file://store/ranker/4.txt")
    assert [p.field for p in cluster_problems(model_spec(model))] == ["spec.model.uri"]
    catalogue = changed(graph(), "spec.catalogue.uri", "file://store/catalogue.parquet")
    assert [p.field for p in cluster_problems(graph_spec(catalogue))] == ["spec.catalogue.uri"]
    assert cluster_problems(graph_spec(graph())) == []


def test_objects_of_the_api_are_frozen() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Replicas(min=1).min = 2  # type: ignore[misc]
