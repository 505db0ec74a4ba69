# SPDX-License-Identifier: Apache-2.0
"""Bad resources are refused with a message that names the field and the remedy."""

from __future__ import annotations

from typing import Any

import pytest
from builders import changed, graph, intent, ranker, recaller
from refusals import MEANING, SHAPE, Refusal, models

from endcap_api.graph_checks import check_graph
from endcap_api.runtime_config import ModelContract
from endcap_api.v1alpha1.inferencegraph import InferenceGraphSpec
from endcap_api.v1alpha1.modeldeployment import ModelDeploymentSpec
from endcap_api.validation import InvalidSpec, read


def problems(manifest: Any) -> list[str]:
    with pytest.raises(InvalidSpec) as refused:
        read(manifest)
    return [str(problem) for problem in refused.value.problems]


def contracts() -> dict[str, ModelContract]:
    found = {}
    for manifest in models():
        spec = read(manifest)
        assert isinstance(spec, ModelDeploymentSpec)
        name = manifest["metadata"]["name"]
        found[name] = ModelContract.of(spec, f"http://{name}-model.shop.svc:8080")
    return found


def graph_problems(manifest: dict[str, Any]) -> list[str]:
    spec = read(manifest)
    assert isinstance(spec, InferenceGraphSpec)
    return [str(problem) for problem in check_graph(spec, contracts())]


@pytest.mark.parametrize("bad", SHAPE, ids=lambda bad: bad.name)
def test_a_bad_shape_is_refused_by_field_and_remedy(bad: Refusal) -> None:
    found = problems(bad.manifest)
    assert any(bad.field in one.split(": ")[0] and bad.words in one and bad.ours in one for one in found), (
        found
    )


@pytest.mark.parametrize("bad", MEANING, ids=lambda bad: bad.name)
def test_a_graph_that_cannot_work_is_refused_by_field_and_remedy(bad: Refusal) -> None:
    found = graph_problems(bad.manifest)
    assert any(one.startswith(f"{bad.field}: ") and bad.words in one for one in found), found


@pytest.mark.parametrize(
    "manifest", [ranker(), recaller(), intent(), graph()], ids=lambda m: m["metadata"]["name"]
)
def test_sound_resources_are_read(manifest: dict[str, Any]) -> None:
    assert read(manifest).dump()


def test_a_sound_graph_has_no_problems() -> None:
    assert graph_problems(graph()) == []


def test_every_problem_of_a_resource_is_told_at_once() -> None:
    bad = changed(changed(ranker(), "spec.model.sha256", "abc"), "spec.frame", "x")
    assert len(problems(changed(bad, "metadata.name", "A"))) == 3


@pytest.mark.parametrize("path", ["spec.steps[1]", "spec.api.request.cart", "spec.catalogue", "spec.limits"])
def test_an_unknown_field_is_refused_wherever_it_stands(path: str) -> None:
    found = problems(changed(graph(), f"{path}.namespace", "prod"))
    assert any(one.startswith(f"{path}.namespace: is no field here") for one in found), found


@pytest.mark.parametrize(
    ("manifest", "words"),
    [
        (None, "start with apiVersion"),
        ([], "start with apiVersion"),
        ({}, "kind: is no kind of this version"),
        ({**ranker(), "kind": "Rollout"}, "use one of ModelDeployment, InferenceGraph"),
        ({**ranker(), "apiVersion": "endcap.dev/v1"}, "write endcap.dev/v1alpha1"),
        ({**ranker(), "metadata": None}, "metadata.name: is required"),
        ({**ranker(), "metadata": {"name": 4}}, "in quotes"),
        ({**ranker(), "spec": None}, "spec: is required"),
        ({**ranker(), "specs": {}}, "did you mean spec?"),
    ],
)
def test_a_manifest_that_is_none_is_refused_with_what_to_write(manifest: Any, words: str) -> None:
    assert any(words in one for one in problems(manifest))


def test_the_key_of_a_map_is_named_when_it_is_wrong() -> None:
    found = problems(changed(graph(), "spec.steps[1].recall.inputs", {"The Cart": "request.cart"}))
    assert len(found) == 1
    assert found[0].startswith("spec.steps[1].recall.inputs['The Cart']: this name is lower-case letters")
