# SPDX-License-Identifier: Apache-2.0
"""What an experiment must be to its graph, its models, its own buckets and other experiments."""

from __future__ import annotations

from typing import Any

import pytest
from builders import bundle, changed, graph, last_intent, with_features, writing_back
from experiment_builders import experiment, measured, models_of_variants, shadow
from experiment_refusals import OVERLAYS
from refusal import Refusal

from endcap_api.assignment import allocate, quotas
from endcap_api.experiment_checks import (
    Placed,
    check_experiment,
    check_served_experiments,
    conflicts,
    missing_of,
)
from endcap_api.experiment_config import (
    Assigned,
    ExperimentConfig,
    experiment_config,
    experiment_id,
    given_ranges,
    weights_of,
)
from endcap_api.feature_columns import FeatureColumn
from endcap_api.features_config import BundleContract, ViewContract
from endcap_api.runtime_config import GraphConfig, ModelContract
from endcap_api.v1alpha1.experiment import ExperimentSpec
from endcap_api.v1alpha1.featureview import EntityKey, FeatureViewSpec
from endcap_api.v1alpha1.inferencegraph import InferenceGraphSpec
from endcap_api.v1alpha1.modeldeployment import ModelDeploymentSpec
from endcap_api.validation import read


def spec_of(manifest: dict[str, Any]) -> ExperimentSpec:
    spec = read(manifest)
    assert isinstance(spec, ExperimentSpec)
    return spec


def graph_of(manifest: dict[str, Any]) -> InferenceGraphSpec:
    spec = read(manifest)
    assert isinstance(spec, InferenceGraphSpec)
    return spec


def contracts(*without: str) -> dict[str, ModelContract]:
    found = {}
    for manifest in models_of_variants():
        spec = read(manifest)
        assert isinstance(spec, ModelDeploymentSpec)
        found[manifest["metadata"]["name"]] = ModelContract.of(spec, "http://model")
    return {name: contract for name, contract in found.items() if name not in without}


def problems(
    manifest: dict[str, Any],
    of_graph: dict[str, Any] | None = None,
    without: tuple[str, ...] = (),
    **more: Any,
) -> list[str]:
    found = check_experiment(spec_of(manifest), graph_of(of_graph or graph()), contracts(*without), **more)
    return [str(problem) for problem in found]


def split(step: str, **variant: Any) -> dict[str, Any]:
    variants = [
        {"name": "control", "baseline": True, "weight": 1},
        {"name": "treatment", "weight": 1, **variant},
    ]
    return experiment(step=step, variants=variants)


@pytest.mark.parametrize("bad", OVERLAYS, ids=lambda bad: bad.name)
def test_an_experiment_that_cannot_work_is_refused_by_field_and_remedy(bad: Refusal) -> None:
    found = problems(bad.manifest)
    assert any(one.startswith(f"{bad.field}: ") and bad.words in one for one in found), found


@pytest.mark.parametrize(
    "sound",
    [
        experiment(),
        measured(),
        shadow(),
        split("rank", by="candidate.together.score * 2.0 + candidate.price"),
        split("rank", model="ranker-v2", inputs={"price": "candidate.price * 2.0"}),
        split("rank", model="margin-ranker", inputs={"margin": "candidate.price"}),
        split("together", model="recaller-v2"),
        split("intent", model="intent-v2"),
        experiment(unit=["request.limit"]),
        experiment(unit=["request.channel", "request.household"]),
    ],
    ids=range(10),
)
def test_a_sound_experiment_has_no_problems(sound: dict[str, Any]) -> None:
    assert problems(sound) == []


def test_a_ranking_by_expression_can_be_overlaid_with_a_model() -> None:
    by_price = changed(graph(), "spec.steps[2]", {"name": "rank", "rank": {"by": "candidate.price"}})
    assert problems(experiment(), by_price) == []


def test_a_list_of_products_is_no_recall_of_a_model() -> None:
    recall = {"name": "bought", "recall": {"products": "['1', '2']"}}
    found = problems(split("bought", model="recaller-v2"), changed(graph(), "spec.steps[1]", recall))
    assert any("name a rank, a recall of a model or a model step" in one for one in found), found


@pytest.mark.parametrize("kind", ["number", "boolean", "product"])
def test_only_texts_and_whole_numbers_name_who_is_assigned(kind: str) -> None:
    asked = changed(graph(), "spec.api.request.customer", {"type": kind})
    (found,) = problems(experiment(unit=["request.customer"]), asked)
    assert found.startswith("spec.unit[0]: request.customer is ")
    assert "request.household" in found


def test_problems_of_the_graph_itself_are_not_those_of_the_experiment() -> None:
    unsound = changed(graph(), "spec.steps[3].filter.drop", "candidate.prize > 1.0")
    assert problems(experiment(), unsound) == []


def test_what_a_later_step_reads_must_be_there_of_every_variant() -> None:
    reading = changed(graph(), "spec.steps[3].filter.drop", "size(candidate.together.because) > 3")
    (found,) = problems(split("together", model="bare-recaller"), _without_reason(reading))
    assert found.startswith(
        "spec.variants[1].model: does not fit the graph, in its spec.steps[3].filter.drop: "
    )
    assert "candidate.together.because" in found


def _without_reason(manifest: dict[str, Any]) -> dict[str, Any]:
    return changed(manifest, "spec.steps[1].recall", {"model": "item-cooccurrence"})


def test_a_recall_may_give_less_when_nobody_reads_it() -> None:
    assert problems(split("together", model="bare-recaller"), _without_reason(graph())) == []


def test_every_bad_variant_is_told() -> None:
    bad = [
        {"name": "control", "baseline": True, "weight": 1},
        {"name": "a", "weight": 1, "by": "candidate.prize"},
        {"name": "b", "weight": 1, "model": "item-cooccurrence"},
    ]
    fields = {one.split(": ")[0] for one in problems(experiment(variants=bad))}
    assert {"spec.variants[1].by", "spec.variants[2].model"} <= fields


def test_what_does_not_exist_yet_is_missing_and_no_problem() -> None:
    assert problems(measured(), without=("ranker-v2",)) == []
    assert problems(split("intent", model="bare-intent"), without=("bare-intent",)) == []
    spec = spec_of(measured())
    assert check_experiment(spec, None, {}) == []
    assert missing_of(spec, (), (), ()) == [
        "InferenceGraph basket",
        "ModelDeployment ranker-v2",
        "FeatureStore default",
    ]
    assert missing_of(spec, ("basket",), ("ranker-v2",), ("default",)) == []
    assert missing_of(spec_of(experiment()), ("basket",), ("ranker-v2",), ()) == []


def test_problems_of_its_own_are_told_before_its_graph_is_there() -> None:
    spec = spec_of(changed(measured(), "spec.layer.buckets", ["1-1"]))
    assert [problem.field for problem in check_experiment(spec, None, {})] == ["spec.layer.buckets[0]"]


CUSTOMER = BundleContract(
    entity="customer",
    keys=[EntityKey(name="customer_id")],
    columns=[FeatureColumn(name="clicks_1h", feature="clicks", type="integer", window_ms=3_600_000)],
    digest="0",
)


def covariate(source: str, **spec: Any) -> dict[str, Any]:
    return changed(measured(**spec), "spec.metrics[1].covariate", source)


def test_a_covariate_may_be_a_feature_of_the_request() -> None:
    of_graph = with_features(graph())
    assert bundle()["metadata"]["name"] == "customer-preference"
    known = {"customer-preference": CUSTOMER}
    assert problems(covariate("customer.clicks_1h"), of_graph, bundles=known) == []
    assert problems(covariate("customer.clicks"), of_graph) == [], "nothing is known of the bundle yet"
    (found,) = problems(covariate("customer.clicks"), of_graph, bundles=known)
    assert found.startswith("spec.metrics[1].covariate: ")
    assert "customer.clicks_1h" in found


def test_the_author_of_a_view_may_be_overlaid() -> None:
    """What another model says is then not written back."""
    view = read(last_intent())
    assert isinstance(view, FeatureViewSpec)
    views = {"last-intent": ViewContract.of(view)}
    assert problems(split("intent", model="intent-v2"), writing_back(graph()), views=views) == []


def test_a_graph_that_looks_features_up_is_told_of_a_covariate_of_them() -> None:
    config = served("x", spec_of(experiment()), covariates={"m": "customer.clicks_1h"})
    of_graph = graph_of(with_features(graph()))
    told_of = config.model_copy(update={"spec": of_graph, "bundles": {"customer-preference": CUSTOMER}})
    assert check_served_experiments(told_of) == []
    misspelt = served("x", spec_of(experiment()), covariates={"m": "customer.clicks"})
    told_of = misspelt.model_copy(update={"spec": of_graph, "bundles": {"customer-preference": CUSTOMER}})
    assert [problem.field for problem in check_served_experiments(told_of)] == ["experiments.x.covariates.m"]


def test_a_covariate_may_not_be_what_the_variants_change() -> None:
    """It would take away the very difference that is measured."""
    variants = [
        {"name": "control", "baseline": True, "weight": 1},
        {"name": "treatment", "weight": 1, "model": "intent-v2"},
    ]
    overlaid = covariate("intent.confidence", step="intent", variants=variants, overrides=None)
    (found,) = problems(overlaid)
    assert found.startswith("spec.metrics[1].covariate: reads intent, which the variants themselves change")
    assert problems(covariate("intent.confidence")) == [], "another step is overlaid"


@pytest.mark.parametrize("reached", ["model", "features"])
def test_nor_what_follows_from_what_they_change(reached: str) -> None:
    later = {
        "model": {"name": "second", "model": {"model": "micro-intent", "inputs": {"cart": "request.cart"}}},
        "features": {"name": "second", "features": {"bundle": "by-label", "entity": "intent.label"}},
    }[reached]
    of_graph = changed(
        graph(), "spec.steps", [graph()["spec"]["steps"][0], later, *graph()["spec"]["steps"][1:]]
    )
    if reached == "model":
        of_graph = changed(of_graph, "spec.steps[1].model.inputs", {"score": "intent.confidence"})
        of_graph = changed(of_graph, "spec.steps[1].model.model", "by-confidence")
    models = contracts() | {"by-confidence": _by_confidence()}
    read_it = "second.clicks_1h" if reached == "features" else "second.confidence"
    variants = [
        {"name": "control", "baseline": True, "weight": 1},
        {"name": "treatment", "weight": 1, "model": "intent-v2"},
    ]
    spec = spec_of(covariate(read_it, step="intent", variants=variants, overrides=None))
    found = check_experiment(spec, graph_of(of_graph), models, {"by-label": CUSTOMER})
    assert [str(each) for each in found if "which the variants themselves change" in str(each)], found


def _by_confidence() -> ModelContract:
    own = contracts()["micro-intent"]
    score = own.outputs[1].model_copy(update={"name": "score"})
    return own.model_copy(update={"inputs": [score]})


def test_weights_are_one_each_in_a_shadow() -> None:
    assert weights_of(spec_of(shadow())) == {"control": 1, "treatment": 1, "by-price": 1}
    assert weights_of(spec_of(experiment())) == {"control": 50, "treatment": 50}


def test_given_buckets_are_what_an_export_has() -> None:
    assert given_ranges(spec_of(experiment())) is None
    before = allocate({"control": 5000, "treatment": 5000})
    ranges = allocate({"control": 3000, "treatment": 7000}, before)
    variants = [
        {
            **each,
            "weight": {"control": 30, "treatment": 70}[each["name"]],
            "buckets": [str(one) for one in ranges[each["name"]]],
        }
        for each in experiment()["spec"]["variants"]
    ]
    exported = experiment(variants=variants)
    assert problems(exported) == []
    assert given_ranges(spec_of(exported)) == ranges


def test_a_variant_without_weight_has_no_buckets_to_export() -> None:
    control, treatment = experiment()["spec"]["variants"]
    variants = [{**control, "buckets": ["0-10000"]}, {**treatment, "weight": 0, "buckets": []}]
    assert problems(experiment(variants=variants)) == []
    assert given_ranges(spec_of(experiment(variants=variants))) == {
        "control": ((0, 10_000),),
        "treatment": (),
    }


@pytest.mark.parametrize(
    ("spec", "percent"),
    [
        (experiment(), 100),
        (experiment(coverage=0), 0),
        (experiment(coverage=20), 20),
        (measured(), 100),
        (experiment(ramp={"steps": [{"coverage": 5}, {"coverage": 50}]}), 50),
    ],
)
def test_full_coverage_is_that_after_the_ramp(spec: dict[str, Any], percent: int) -> None:
    assert spec_of(spec).full_coverage == percent


LAYER = {"name": "basket", "buckets": ["0-5000"]}
REST = {"name": "basket", "buckets": ["5000-10000"]}


def placed(
    created: str = "2026-11-24T10:00:00Z", *, begun: bool = False, ended: bool = False, **spec: Any
) -> Placed:
    return Placed(spec_of(experiment(**spec)), created, begun=begun, ended=ended)


OLD, NEW = "2026-11-24T10:00:00Z", "2026-11-24T11:00:00Z"


@pytest.mark.parametrize(
    ("one", "two", "field"),
    [
        (placed(OLD), placed(NEW), "spec.layer"),
        (placed(OLD, layer=LAYER), placed(NEW), "spec.layer"),
        (placed(OLD), placed(NEW, layer=REST), "spec.layer"),
        (placed(OLD, layer=LAYER), placed(NEW, layer={**REST, "name": "other"}), "spec.layer"),
        (
            placed(OLD, layer=LAYER),
            placed(NEW, layer={"name": "basket", "buckets": ["9000-10000", "4999-5001"]}),
            "spec.layer.buckets",
        ),
        (placed(OLD, layer=LAYER), placed(NEW, layer=LAYER, graph="home"), "spec.layer.buckets"),
        (placed(OLD, layer=LAYER), placed(NEW, layer=LAYER, step="together"), "spec.layer.buckets"),
        (placed(OLD, salt="s"), placed(NEW, salt="s", step="together"), "spec.salt"),
        (placed(OLD, salt="home.rank.two"), placed(NEW, graph="home"), "spec.salt"),
    ],
    ids=range(9),
)
def test_the_younger_of_two_that_meet_is_kept_out(one: Placed, two: Placed, field: str) -> None:
    found = conflicts({"two": two, "one": one})
    assert list(found) == ["two"]
    assert found["two"].field == field
    assert "experiment one" in found["two"].message


@pytest.mark.parametrize(
    ("one", "two"),
    [
        (placed(layer=LAYER), placed(layer=REST)),
        (placed(), placed(step="together")),
        (placed(), placed(graph="home")),
        (placed(enabled=False), placed()),
        (placed(), placed(enabled=False)),
        (placed(ended=True), placed()),
        (placed(layer=LAYER), placed(layer=REST, graph="home")),
        (placed(layer=LAYER), placed(layer={**LAYER, "name": "other"}, step="together")),
    ],
    ids=range(8),
)
def test_those_that_are_apart_run_beside_each_other(one: Placed, two: Placed) -> None:
    assert conflicts({"one": one, "two": two}) == {}


def test_an_experiment_that_has_begun_is_not_displaced_by_an_older_one_that_is_enabled_again() -> None:
    assert list(conflicts({"old": placed(OLD), "new": placed(NEW, begun=True)})) == ["old"]
    assert list(conflicts({"old": placed(OLD, begun=True), "new": placed(NEW, begun=True)})) == ["new"]


def test_of_two_that_were_created_together_the_name_decides() -> None:
    assert list(conflicts({"b": placed(), "a": placed()})) == ["b"]


def test_one_that_is_kept_out_keeps_out_nobody() -> None:
    """The third meets only the second, which takes no traffic."""
    third = placed("3", layer={"name": "home", "buckets": ["0-100"]}, step="together")
    second = placed("2", layer={"name": "home", "buckets": ["0-100"]})
    assert list(conflicts({"first": placed("1"), "second": second, "third": third})) == ["second"]


def served(name: str, spec: ExperimentSpec, **changes: Any) -> GraphConfig:
    ranges = allocate(quotas(weights_of(spec)))
    assigned = Assigned(experiment_id("uid"), 1, 1, "Running", ranges, 100)
    config = experiment_config(name, spec, assigned).dump()
    return GraphConfig(
        name="basket",
        namespace="shop",
        spec=graph_of(graph()),
        models=contracts("bare-intent"),
        experiments={name: ExperimentConfig.model_validate({**config, **changes})},
    )


def told(**treatment: Any) -> list[dict[str, Any]]:
    control = {"name": "control", "baseline": True, "buckets": ["0-5"], "weight": 5}
    return [control, {"name": "treatment", "weight": 5, **treatment}]


def test_a_graph_is_told_of_sound_experiments() -> None:
    for manifest in (experiment(), measured(), shadow()):
        assert check_served_experiments(served("x", spec_of(manifest))) == []
    config = served("x", spec_of(experiment())).model_copy(update={"experiments": None})
    assert check_served_experiments(config) == []


@pytest.mark.parametrize(
    ("changes", "field", "words"),
    [
        ({"step": "rnk"}, "experiments.x.step", "did you mean rank?"),
        ({"unit": ["request.cart"]}, "experiments.x.unit[0]", "of type array"),
        ({"targeting": "request.limit"}, "experiments.x.targeting", "bool is needed"),
        ({"covariates": {"m": "request.channel"}}, "experiments.x.covariates.m", "double or int is needed"),
        (
            {"variants": told(model="gone", buckets=["5-9"])},
            "experiments.x.variants[1].model",
            "no contract of gone",
        ),
        (
            {"variants": told(by="1.0", buckets=["4-9"])},
            "experiments.x.variants[1].buckets",
            "part them",
        ),
    ],
)
def test_a_graph_does_not_serve_what_cannot_work(changes: dict[str, Any], field: str, words: str) -> None:
    found = [
        str(problem) for problem in check_served_experiments(served("x", spec_of(experiment()), **changes))
    ]
    assert any(one.startswith(f"{field}: ") and words in one for one in found), found
