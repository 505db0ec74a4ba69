# SPDX-License-Identifier: Apache-2.0
"""Candidates from a list of keys: what a graph may say of it, and what it refuses with its remedy."""

from typing import Any

import pytest
from graphs import Graph
from pydantic import ValidationError

from endcap_api.features_config import BundleContract
from endcap_api.graph_checks import check_graph
from endcap_api.v1alpha1.inferencegraph import InferenceGraphSpec

LAST = {
    "entity": "customer",
    "keys": [{"name": "customer_id"}],
    "columns": [
        {"name": "products", "feature": "products", "type": "array", "items": "string", "default": []},
        {"name": "visits", "feature": "visits", "type": "integer", "default": 0},
    ],
    "digest": "0" * 12,
}


def spec(recall: dict[str, Any], **step: Any) -> InferenceGraphSpec:
    made = Graph().step("last", features={"bundle": "last-answer", "entity": "request.customer"})
    made = made.step("again", recall=recall, **step).select()
    return InferenceGraphSpec.model_validate(made.value()["spec"])


def problems(recall: dict[str, Any]) -> list[str]:
    bundles = {"last-answer": BundleContract.model_validate(LAST)}
    return [str(problem) for problem in check_graph(spec(recall), {}, bundles)]


def test_a_list_of_keys_from_a_feature_is_sound() -> None:
    assert problems({"products": "last.products", "reason": "Recommended to you a moment ago"}) == []


@pytest.mark.parametrize(
    ("recall", "says"),
    [
        ({"products": "last.visits"}, "list(string) is needed"),
        ({"products": "last.nothing"}, "what can be read here: last.products"),
        ({"products": "request.cart"}, "names, and keys are needed"),
        ({"products": "last.products", "reason": "Because of {because}"}, "a list has none, so remove them"),
    ],
)
def test_what_gives_no_keys_is_refused_with_its_remedy(recall: dict[str, Any], says: str) -> None:
    (problem,) = problems(recall)
    assert "spec.steps[1].recall." in problem
    assert says in problem


@pytest.mark.parametrize(
    ("recall", "says"),
    [
        ({}, "exactly one of model and products"),
        ({"model": "buy-it-again", "products": "last.products"}, "exactly one of model and products"),
        ({"products": "last.products", "inputs": {"customer": "request.customer"}}, "remove inputs"),
    ],
)
def test_a_list_and_a_model_do_not_mix(recall: dict[str, Any], says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        spec(recall)


def test_a_list_waits_for_nobody_so_it_has_no_timeout() -> None:
    with pytest.raises(ValidationError, match="timeout is for steps that"):
        spec({"products": "last.products"}, timeout="10ms")


def test_a_list_may_hang_on_a_bundle_that_does_not_exist_yet() -> None:
    assert check_graph(spec({"products": "last.products"}), {}, {}) == []
