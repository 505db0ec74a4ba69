# SPDX-License-Identifier: Apache-2.0
"""What the checks of a graph let pass, and what they leave open while a model is missing."""

from __future__ import annotations

from typing import Any

import pytest
from builders import changed, column, graph, intent, ranker, recaller
from refusals import MEANING, Refusal, models

from endcap_api.graph_checks import check_graph, missing_models
from endcap_api.runtime_config import ModelContract
from endcap_api.v1alpha1.inferencegraph import InferenceGraphSpec
from endcap_api.v1alpha1.kinds import parse
from endcap_api.v1alpha1.modeldeployment import ModelDeploymentSpec
from endcap_api.wiring import candidate_variables, environment, input_sources, item_output, model_variables


def spec_of(manifest: dict[str, Any]) -> InferenceGraphSpec:
    spec = parse(manifest)
    assert isinstance(spec, InferenceGraphSpec)
    return spec


def contracts(*manifests: dict[str, Any]) -> dict[str, ModelContract]:
    found = {}
    for manifest in manifests:
        spec = parse(manifest)
        assert isinstance(spec, ModelDeploymentSpec)
        found[manifest["metadata"]["name"]] = ModelContract.of(spec, "http://x")
    return found


ALL = contracts(intent(), recaller(), ranker())


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("spec.steps[3].filter.drop", "candidate.price > 3.0 && candidate.sold > 3"),
        ("spec.steps[3].filter", {"keep": "request.household in candidate.stores"}),
        ("spec.steps[3].filter.drop", "candidate.together.score < 0.1"),
        ("spec.steps[3].filter.drop", "candidate.together.because in request.cart"),
        ("spec.steps[3].filter.drop", "intent.confidence > 0.5 && candidate.category != intent.label"),
        ("spec.steps[2].rank", {"by": "0.7 * candidate.together.score + candidate.price"}),
        ("spec.steps[2].rank", {"by": "candidate.sold"}),
        ("spec.steps[2].rank.inputs", {"price": "candidate.sold"}),
        ("spec.steps[2].rank.inputs", {"household_share": "candidate.together.score"}),
        ("spec.steps[4].limit.per", "candidate.sold"),
        ("spec.steps[5].select.count", "10"),
        ("spec.steps[0].timeout", "150ms"),
        ("spec.steps[5].select.count", "size(request.cart) > 3 ? 5 : request.limit"),
        ("spec.fallback[0]", {"model": "item-cooccurrence"}),
        ("spec.api.request.limit.default", None),
        ("spec.api.request.cart", {"type": "array", "items": {"type": "product"}, "default": []}),
    ],
)
def test_sound_changes_are_no_problem(path: str, value: Any) -> None:
    assert check_graph(spec_of(changed(graph(), path, value)), ALL) == []


def test_a_model_that_does_not_exist_is_missing_and_not_a_problem() -> None:
    spec = spec_of(graph())
    assert missing_models(spec, contracts(intent())) == ["basket-ranker", "item-cooccurrence"]
    assert check_graph(spec, {}) == []
    assert check_graph(spec, contracts(intent())) == []


def test_expressions_wait_for_the_models_before_them_and_not_for_those_behind() -> None:
    reads_later = changed(graph(), "spec.steps[3].filter.drop", "candidate.together.nothing > 1.0")
    assert check_graph(spec_of(reads_later), contracts(intent(), ranker())) == []
    assert len(check_graph(spec_of(reads_later), ALL)) == 1
    wrong_input = changed(graph(), "spec.steps[0].model.inputs", {"basket": "request.cart"})
    assert len(check_graph(spec_of(wrong_input), contracts(intent()))) == 1


def test_every_problem_of_a_graph_is_told_at_once() -> None:
    bad = changed(graph(), "spec.steps[3].filter.drop", "candidate.nam == 'x'")
    bad = changed(bad, "spec.steps[5].select.count", "'ten'")
    bad = changed(bad, "spec.api.request.channel.default", "fax")
    assert len(check_graph(spec_of(bad), ALL)) == 3


@pytest.mark.parametrize("bad", MEANING, ids=lambda bad: bad.name)
def test_a_problem_is_one_line_with_a_field_of_the_spec(bad: Refusal) -> None:
    for problem in check_graph(spec_of(bad.manifest), contracts(*models())):
        assert problem.field.startswith("spec.")
        assert "\n" not in problem.message
        assert len(problem.message) > 10


def test_variables_of_a_step_are_the_request_the_models_before_it_and_the_candidate() -> None:
    spec = spec_of(graph())
    first = environment(spec, ALL, spec.steps[0]).variables
    assert set(first) == {"request.household", "request.cart", "request.channel", "request.limit"}
    rank = environment(spec, ALL, spec.steps[2]).variables
    assert rank["intent.confidence"] == "double"
    assert rank["candidate.together.because"] == "string"
    assert rank["candidate.together.score"] == "double"
    assert rank["candidate.score"] == "double"
    assert "candidate.together.items" not in rank
    assert "intent.label" not in model_variables(spec, ALL, spec.steps[0])


def test_a_step_is_read_with_underscores_for_its_hyphens() -> None:
    spec = spec_of(changed(graph(), "spec.steps[1].name", "buy-again"))
    assert candidate_variables(spec, ALL)["candidate.buy_again.score"] == "double"


def test_an_input_is_fed_by_what_is_written_then_the_candidate_then_the_request() -> None:
    spec = spec_of(graph())
    known = environment(spec, ALL, spec.steps[2])
    contract = contracts(ranker(inputs=[column("price"), column("limit", "integer"), column("weather")]))
    sources = input_sources(contract["basket-ranker"], {"price": "1.0"}, known)
    assert sources == {"price": "1.0", "limit": "request.limit", "weather": None}
    assert input_sources(contract["basket-ranker"], None, known)["price"] == "candidate.price"


def test_the_item_of_a_recall_is_its_first_array_of_products() -> None:
    item = item_output(ALL["item-cooccurrence"].outputs)
    assert item is not None
    assert item.name == "items"
    assert item_output(ALL["micro-intent"].outputs) is None


@pytest.mark.parametrize("count", ["0", "-1", " -7 "])
def test_a_constant_count_below_one_is_refused(count: str) -> None:
    (problem,) = check_graph(spec_of(changed(graph(), "spec.steps[5].select.count", count)), ALL)
    assert problem == (
        "spec.steps[5].select.count",
        f"{count.strip()} is no number of products: write 1 or more",
    )


def test_a_timeout_beyond_the_deadline_is_refused_with_both() -> None:
    (problem,) = check_graph(spec_of(changed(graph(), "spec.steps[0].timeout", "20s")), {})
    assert problem == (
        "spec.steps[0].timeout",
        "timeout 20s is longer than the deadline 150ms: lower it or raise deadline",
    )
