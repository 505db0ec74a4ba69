# SPDX-License-Identifier: Apache-2.0
"""The rules of what may not change, as `endcap validate` evaluates rules; and odd values in every field."""

from __future__ import annotations

from typing import Any

import pytest
from builders import changed, graph
from cel_expr_python import cel
from experiment_builders import experiment, measured, models_of_variants, shadow
from experiment_refusals import KEPT, Kept
from hypothesis import given, settings
from hypothesis import strategies as st
from odd_values import NO_JSON, WITHIN_JSON, paths

from endcap_api.assigner import Assigner, Unit
from endcap_api.assignment import allocate, quotas
from endcap_api.experiment_checks import check_experiment
from endcap_api.experiment_config import (
    Assigned,
    experiment_config,
    experiment_id,
    given_ranges,
    measured_config,
    weights_of,
)
from endcap_api.runtime_config import ModelContract
from endcap_api.v1alpha1.experiment import ExperimentSpec
from endcap_api.v1alpha1.experimentrules import TRANSITIONS
from endcap_api.v1alpha1.inferencegraph import InferenceGraphSpec
from endcap_api.v1alpha1.kinds import parse
from endcap_api.v1alpha1.modeldeployment import ModelDeploymentSpec
from endcap_api.validation import InvalidSpec, read


def stored(manifest: dict[str, Any], phase: str) -> dict[str, Any]:
    """As the API server keeps it: with its defaults."""
    spec = ExperimentSpec.model_validate(manifest["spec"]).dump()
    return {**manifest, "spec": spec, "status": {"phase": phase}}


def refusals(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    environment = cel.NewEnv(variables={"self": cel.Type.DYN, "oldSelf": cel.Type.DYN})
    data = {"self": after, "oldSelf": before}
    return [
        rule.message
        for rule in TRANSITIONS
        if environment.compile(rule.rule).eval(data=data).value() is not True
    ]


@pytest.mark.parametrize("kept", KEPT, ids=lambda kept: kept.name)
def test_what_was_begun_with_stays_so(kept: Kept) -> None:
    other = stored(changed(kept.before, kept.path, kept.value), "Running")
    assert refusals(stored(kept.before, "Pending"), other) == []
    found = refusals(stored(kept.before, "Running"), other)
    assert any(kept.words in one for one in found), found


@pytest.mark.parametrize("manifest", [experiment(), measured(), shadow()], ids=range(3))
def test_a_report_of_the_operator_is_no_change_of_the_spec(manifest: dict[str, Any]) -> None:
    for before, after in (("Pending", "Running"), ("Running", "Ended"), ("Ended", "Pending")):
        assert refusals(stored(manifest, before), stored(manifest, after)) == []


def test_every_field_that_decides_who_gets_what_is_kept() -> None:
    """A field that is added must be thought of: it can change while an experiment runs, or it cannot."""
    kept = {
        name
        for name in ExperimentSpec.model_fields
        if f"spec.{name} " in " ".join(r.message for r in TRANSITIONS)
    }
    free = set(ExperimentSpec.model_fields) - kept
    assert free == {
        "description",
        "enabled",
        "coverage",
        "ramp",
        "overrides",
        "guardrails",
        "analysis",
        "on_win",
        "promotion",
        "decision",
    }


GRAPH = parse(graph())
MODELS = {
    manifest["metadata"]["name"]: ModelContract.of(spec, "http://model")
    for manifest in models_of_variants()
    if isinstance(spec := parse(manifest), ModelDeploymentSpec)
}
SOUND = [measured(), shadow(), experiment(), {**measured(), "spec": stored(measured(), "")["spec"]}]
PLACES = [(manifest, path) for manifest in SOUND for path in paths(manifest["spec"], "spec")]
ODD = st.sampled_from([None, *WITHIN_JSON, *NO_JSON])


@settings(max_examples=400)
@given(st.sampled_from(PLACES), ODD | st.text(max_size=8))
def test_an_odd_value_anywhere_is_refused_in_words_or_works(
    place: tuple[dict[str, Any], str], value: Any
) -> None:
    manifest, path = place
    try:
        spec = read(changed(manifest, path, value))
    except InvalidSpec as refused:
        assert all(problem.field and problem.message for problem in refused.problems)  # noqa: PT017
        return
    assert isinstance(spec, ExperimentSpec)
    assert isinstance(GRAPH, InferenceGraphSpec)
    if check_experiment(spec, GRAPH, MODELS):
        return
    ranges = given_ranges(spec) or allocate(quotas(weights_of(spec)))
    assigned = Assigned(experiment_id("uid"), 1, 1, "Running", ranges, spec.full_coverage)
    decided = Assigner(experiment_config("x", spec, assigned)).decide(Unit("1467", "household"))
    assert decided.variant in ranges
    assert measured_config(spec, "id").variants == list(ranges)
