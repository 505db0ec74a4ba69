# SPDX-License-Identifier: Apache-2.0
"""The rules of what may not change, evaluated as `endcap validate` evaluates rules, as the API server does."""

from __future__ import annotations

from typing import Any

import pytest
from builders import changed
from cel_expr_python import cel
from experiment_builders import experiment, measured, shadow
from experiment_refusals import KEPT, Kept

from endcap_api.v1alpha1.experiment import ExperimentSpec
from endcap_api.v1alpha1.experimentrules import TRANSITIONS


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
