# SPDX-License-Identifier: Apache-2.0
"""Views, bundles, lookups and joined features that cannot work are refused by field and remedy; sound ones are not."""

from __future__ import annotations

from typing import Any

import pytest
from builders import changed, graph
from known_features import (
    CONTRACTS,
    MODELS,
    VIEW_SPECS,
    WRITTEN,
    bundle_of,
    graph_of,
    model_of,
    view_of,
)
from refusal import Refusal
from view_refusals import BUNDLES, JOINED, LOOKUPS, VIEWS, known_bundles, known_views
from views import (
    activity,
    bundle,
    feature,
    graph_with_features,
    last_intent,
    popularity,
    profile,
    ranker_with_features,
    selected,
    sound,
)

from endcap_api.feature_checks import bundle_problems, missing_views, view_problems
from endcap_api.features_config import ViewContract
from endcap_api.graph_checks import check_graph, missing_bundles, missing_written_views
from endcap_api.model_checks import missing_model_bundle, model_feature_problems
from endcap_api.problem import Problem
from endcap_api.v1alpha1.steps import FeaturesStep
from endcap_api.validation import read
from endcap_api.wiring import environment, forms, key_sources, looks_up_candidates, write_back_environment


def checked(manifest: dict[str, Any]) -> list[Problem]:
    return check_graph(graph_of(manifest), MODELS, CONTRACTS, WRITTEN)


def refuses(problems: list[Problem], bad: Refusal) -> None:
    matching = [p for p in problems if p.field == bad.field and bad.words in p.message]
    assert matching, problems
    assert "\n" not in matching[0].message


@pytest.mark.parametrize("bad", VIEWS, ids=lambda bad: bad.name)
def test_a_view_that_cannot_work_is_refused(bad: Refusal) -> None:
    refuses(view_problems(view_of(bad.manifest)), bad)


@pytest.mark.parametrize("bad", BUNDLES, ids=lambda bad: bad.name)
def test_a_bundle_that_its_views_do_not_carry_is_refused(bad: Refusal) -> None:
    refuses(bundle_problems(bundle_of(bad.manifest), VIEW_SPECS), bad)


@pytest.mark.parametrize("bad", LOOKUPS, ids=lambda bad: bad.name)
def test_a_graph_that_cannot_look_up_or_write_back_is_refused(bad: Refusal) -> None:
    refuses(checked(bad.manifest), bad)


@pytest.mark.parametrize("bad", JOINED, ids=lambda bad: bad.name)
def test_a_model_that_cannot_take_its_features_is_refused(bad: Refusal) -> None:
    refuses(model_feature_problems(model_of(bad.manifest), CONTRACTS), bad)


@pytest.mark.parametrize("manifest", known_views(), ids=lambda m: m["metadata"]["name"])
def test_sound_views_have_no_problem(manifest: dict[str, Any]) -> None:
    assert view_problems(view_of(manifest)) == []


@pytest.mark.parametrize("manifest", known_bundles(), ids=lambda m: m["metadata"]["name"])
def test_sound_bundles_have_no_problem(manifest: dict[str, Any]) -> None:
    assert bundle_problems(bundle_of(manifest), VIEW_SPECS) == []


def test_a_sound_graph_and_model_have_no_problem() -> None:
    assert checked(graph_with_features()) == []
    assert model_feature_problems(model_of(ranker_with_features()), CONTRACTS) == []


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (
            "spec.steps[0].features.entity",
            "size(request.cart) > 0 && !('tea' in request.cart) ? 'x' : 'y'",
        ),
        (
            "spec.steps[0].features",
            {"bundle": "customer-preference", "keys": {"customer_id": "request.household"}},
        ),
        (
            "spec.steps[0].features",
            {"bundle": "store-product", "keys": {"store_id": "'7'", "shelf": "request.limit"}},
        ),
        ("spec.steps[0].features.entity", "request.channel == 'candidate.id' ? 'web' : request.channel"),
        ("spec.steps[3].features.entity", "candidate.category"),
        ("spec.steps[3].features.entity", "candidate.together.because"),
        ("spec.steps[3].onError", "fail"),
        (
            "spec.steps[4].rank.inputs",
            {"price": "customer.spend", "household_share": "candidate.live.sold_1h"},
        ),
        ("spec.steps[4].rank", {"by": "double(candidate.live.sold_1h) + customer.spend"}),
        ("spec.steps[5].filter.drop", "customer.segment == 'vegan' && candidate.live.sold_1h < 3"),
        ("spec.steps[7].select.count", "customer.clicks_1h > 3 ? 5 : request.limit"),
        ("spec.writeBack[0].features", {"confidence": "request.limit", "label": "customer.segment"}),
        ("spec.writeBack[0].features", {"confidence": "answer.scores.size() > 0 ? answer.scores[0] : 0.0"}),
        ("spec.api.request.household", {"type": "product"}),
    ],
)
def test_sound_changes_are_no_problem(path: str, value: Any) -> None:
    assert checked(changed(graph_with_features(), path, value)) == []


def test_a_lookup_may_stand_before_what_it_reads_of_the_request_and_behind_a_model_that_it_reads() -> None:
    intent_first = changed(graph_with_features(), "spec.steps[0].features.entity", "intent.label")
    assert [p.field for p in checked(intent_first)] == ["spec.steps[0].features.entity"]
    steps = intent_first["spec"]["steps"]
    steps[0], steps[1] = steps[1], steps[0]
    assert checked(intent_first) == []


def test_what_does_not_exist_is_missing_and_not_a_problem() -> None:
    spec = graph_of(graph_with_features())
    assert check_graph(spec, MODELS) == []
    assert missing_bundles(spec, {}) == ["customer-preference", "product"]
    assert missing_bundles(spec, CONTRACTS) == []
    assert missing_written_views(spec, {}) == ["last-intent"]
    assert missing_written_views(spec, WRITTEN) == []
    model = model_of(ranker_with_features())
    assert model_feature_problems(model, {}) == []
    assert missing_model_bundle(model, {}) == "customer-preference"
    assert missing_model_bundle(model, CONTRACTS) is None
    assert missing_model_bundle(model_of(ranker_with_features(features=None)), {}) is None


def test_a_view_that_does_not_exist_is_missing_and_not_a_problem() -> None:
    spec = bundle_of(bundle())
    assert missing_views(spec, {"customer-profile": VIEW_SPECS["customer-profile"]}) == ["customer-activity"]
    assert bundle_problems(spec, {"customer-profile": VIEW_SPECS["customer-profile"]}) == []
    assert missing_views(spec, VIEW_SPECS) == []


def test_expressions_wait_for_a_bundle_that_is_missing() -> None:
    reads = changed(graph_with_features(), "spec.steps[5].filter.drop", "candidate.live.nothing > 3")
    known = {name: contract for name, contract in CONTRACTS.items() if name != "product"}
    assert check_graph(graph_of(reads), MODELS, known, WRITTEN) == []
    assert len(checked(reads)) == 1


def test_what_is_written_back_waits_for_a_model_that_is_missing() -> None:
    reads = changed(graph_with_features(), "spec.writeBack[0].features", {"label": "intent.nothing"})
    known = {name: contract for name, contract in MODELS.items() if name != "micro-intent"}
    assert check_graph(graph_of(reads), known, CONTRACTS, WRITTEN) == []
    assert [p.field for p in checked(reads)] == ["spec.writeBack[0].features.label"]


@pytest.mark.parametrize(
    ("entity", "each"),
    [
        ("candidate.id", True),
        ("string(candidate . sold)", True),
        ("request.household + candidate.category", True),
        ("'candidate.id'", False),
        ('"a\\"candidate.id"', False),
        ("r'candidate.id' + request.household", False),
        ("request.candidate", False),
        ("my_candidate.id", False),
        ("request.cart.exists(candidate, candidate == 'x') ? 'a' : 'b'", False),
    ],
)
def test_a_lookup_is_of_each_candidate_when_its_key_reads_one(entity: str, *, each: bool) -> None:
    spec = graph_of(changed(graph_with_features(), "spec.steps[0].features.entity", entity))
    assert looks_up_candidates(spec.steps[0]) is each
    assert forms(spec.steps[0]) is not each


def test_variables_are_those_of_the_lookups_before_a_step() -> None:
    spec = graph_of(graph_with_features())
    model, live, rank = (environment(spec, MODELS, spec.steps[i], CONTRACTS).variables for i in (1, 3, 4))
    assert model["customer.clicks_1h"] == "int"
    assert not [name for name in model if name.startswith("candidate.")]
    assert "candidate.live.sold_1h" not in live
    assert "candidate.score" not in live
    assert rank["candidate.live.sold_1h"] == "int"
    assert rank["customer.spend"] == "double"
    assert "customer.spend" not in environment(spec, MODELS, spec.steps[0], CONTRACTS).variables
    written = write_back_environment(spec, MODELS, CONTRACTS).variables
    assert written["answer.products"] == "list(string)"
    assert written["customer.segment"] == "string"
    assert not [name for name in written if name.startswith("candidate.")]


def test_keys_of_an_entity_are_fed_in_its_order() -> None:
    keys = CONTRACTS["store-product"].keys
    asked = FeaturesStep(bundle="store-product", keys={"shelf": "1", "store_id": "'7'"})
    assert list(key_sources(asked, keys).items()) == [("store_id", "'7'"), ("shelf", "1")]
    assert key_sources(FeaturesStep(bundle="b", entity="'7'"), keys[:1]) == {"store_id": "'7'"}


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        ("spec.features[0].default", "\ud800", "half a character"),
        ("spec.features[2].default", 10**400, "is not finite"),
    ],
)
def test_a_default_that_json_cannot_carry_is_refused(path: str, value: Any, words: str) -> None:
    (problem,) = view_problems(view_of(changed(profile(), path, value)))
    assert words in problem.message


def test_graphs_without_features_are_checked_as_before() -> None:
    assert checked(graph()) == check_graph(graph_of(graph()), MODELS) == []


def test_every_problem_of_a_bundle_is_told_at_once() -> None:
    bad = changed(bundle(), "spec.features[0].window", "2h")
    bad = changed(bad, "spec.features[2].feature", "segmant")
    assert len(bundle_problems(bundle_of(bad), VIEW_SPECS)) == 2


def test_keys_of_another_type_or_order_are_another_entity() -> None:
    other = changed(profile(), "spec.entity.keys[0].type", "integer")
    views = {**VIEW_SPECS, "customer-profile": view_of(other)}
    (problem,) = bundle_problems(bundle_of(bundle()), views)
    assert (
        "customer (customer_id: integer), and customer-activity customer (customer_id: string)"
        in problem.message
    )


def test_a_default_of_a_sum_may_be_the_zero_that_it_is() -> None:
    for default in (0, 0.0):
        assert view_problems(view_of(changed(activity(), "spec.features[1].default", default))) == []
    assert view_problems(view_of(changed(activity(), "spec.features[0].default", 0))) == []


def test_a_view_of_tiles_lives_as_long_as_its_longest_window_and_tile() -> None:
    short = {"stream": {"storage": "tiles", "lateness": "1s"}}
    for ttl, problems in (("3601s", 1), ("3659s", 1), ("61m", 0)):
        spec = view_of(popularity(ttl=ttl, source=short, features=[
            feature("sold", "integer", event="e", aggregation="count", windows=["1h"]),
        ]))  # fmt: skip
        assert len(view_problems(spec)) == problems


def test_the_remedy_for_a_log_that_is_too_large_fits_and_one_more_does_not() -> None:
    view = changed(activity(), "spec.source.stream.maxEvents", 4096)
    (problem,) = view_problems(view_of(view))
    fitting = int(problem.message.split("keep ")[1].split()[0])
    assert view_problems(view_of(changed(view, "spec.source.stream.maxEvents", fitting))) == []
    assert len(view_problems(view_of(changed(view, "spec.source.stream.maxEvents", fitting + 1)))) == 1


def test_sound_resources_are_read() -> None:
    for manifest in sound():
        assert read(manifest).dump() or manifest["kind"] == "FeatureStore"


def test_a_written_view_says_whose_result_it_keeps() -> None:
    contract = ViewContract.of(view_of(last_intent()))
    assert (contract.kind, contract.model) == ("derived", "micro-intent")
    assert ViewContract.of(view_of(profile())).kind == "precomputed"
    assert [c.name for c in CONTRACTS["customer-preference"].columns] == ["clicks_1h", "spend", "segment"]


def test_a_view_that_exists_is_judged_even_where_another_is_missing() -> None:
    mixed = bundle(features=[selected("nowhere", "x"), selected("customer-profile", "segmant")])
    assert [p.field for p in bundle_problems(bundle_of(mixed), VIEW_SPECS)] == ["spec.features[1].feature"]
