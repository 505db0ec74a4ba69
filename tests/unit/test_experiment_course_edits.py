# SPDX-License-Identifier: Apache-2.0
"""What a person decides or edits while an experiment is under way, and what follows."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from experiment_trial import (
    FACTS,
    MISMATCHED,
    Trial,
    arms,
    running,
)
from measured_experiments import METRIC, experiment, page, weighed

from endcap_api.assignment import quotas, size
from endcap_api.experiment_config import VariantServing
from endcap_operator.plan.experiment.record import assigned_of

# Persons


def test_a_person_promotes_whatever_the_figures_say() -> None:
    trial = running()
    found = trial.changed(decision={"promote": "treatment"}).step()
    assert (found.record.phase, found.record.everyone) == ("Promoting", "treatment")
    assigned = assigned_of(found.record, "http://default-ingest")
    assert assigned is not None
    assert assigned.everyone == "treatment"
    trial.facts = replace(
        FACTS, named=frozenset({"control", "treatment"}), problems=("the variant does nothing else",)
    )
    found = trial.step()
    assert found.record.phase == "Promoted"
    assert assigned_of(found.record, None) is None


@pytest.mark.parametrize(
    "phase", ["Pending", "Ramping", "Running", "Paused", "AwaitingApproval", "Promoting"]
)
def test_a_person_aborts_at_any_time(phase: str) -> None:
    facts = replace(FACTS, unready=("treatment",)) if phase == "Pending" else FACTS
    ramp = {"steps": [{"coverage": 5, "hold": "1h"}]} if phase == "Ramping" else None
    on_win = "promote" if phase == "Promoting" else None
    trial = Trial(experiment(ramp=ramp, onWin=on_win), facts)
    if phase == "Paused":
        trial.until("Running").changed(enabled=False)
    trial.until(phase, arms(treatment=750))
    trial.facts = replace(facts, problems=("even so",))
    found = trial.changed(decision={"abort": "black friday"}).step()
    assert (found.record.phase, found.transitions[0].message) == ("Aborted", "black friday")


def test_an_abort_without_a_reason_is_one() -> None:
    record = running().changed(decision={"abort": ""}).step().record
    assert record.phase == "Aborted"
    assert record.history[-1].message == "decision.abort, without a reason"


@pytest.mark.parametrize("phase", ["Ramping", "Running", "AwaitingApproval", "Promoting"])
def test_a_pause_leads_back_to_where_it_was(phase: str) -> None:
    ramp = {"steps": [{"coverage": 5, "hold": "10m"}, {"coverage": 100}]} if phase == "Ramping" else None
    trial = Trial(experiment(ramp=ramp, onWin="promote" if phase == "Promoting" else None))
    trial.until(phase, arms(treatment=750))
    before = trial.known
    paused = trial.changed(enabled=False).step(arms(treatment=750), minutes=60)
    assert (paused.record.phase, paused.record.paused) == ("Paused", phase)
    assert not trial.step(arms(treatment=750)).transitions
    back = trial.changed(enabled=True).step()
    assert (back.record.phase, back.record.coverage, back.record.ranges) == (
        phase,
        before.coverage,
        before.ranges,
    )
    if phase == "Ramping":
        assert trial.step(arms(), minutes=9).record.coverage == 5, "the hold begins anew"
        assert trial.step(arms(), minutes=1).record.coverage == 100


def test_what_is_over_is_over() -> None:
    trial = running().changed(decision={"abort": "x"})
    over = trial.step().record
    trial.changed(decision=None, variants=weighed(control=1, treatment=99), enabled=False, coverage=7)
    for sums in (None, arms(treatment=900), MISMATCHED):
        assert trial.step(sums).record == over


# Weights, coverage, what the graph is told


def test_new_weights_move_the_fewest_buckets_and_begin_an_epoch() -> None:
    trial = running()
    trial.spec = experiment(
        variants=[
            {**v, "model": "basket-ranker-v2"} if v.get("model") else v
            for v in weighed(control=80, treatment=20)
        ]
    )
    found = trial.step()
    assert found.record.ranges == {"control": ["0-5000", "7000-10000"], "treatment": ["5000-7000"]}
    assert (found.record.epoch, found.record.revision) == (2, 2)
    assert (
        found.transitions[0].message
        == "weights control 80, treatment 20: 3000 of 10000 buckets move; epoch 2"
    )
    assert found.record.epochs["2"].comparable
    assert found.record.phase == "Running"


@pytest.mark.parametrize("weights", [{"control": 1, "treatment": 1}, {"treatment": 5000, "control": 5000}])
def test_the_same_ratio_is_no_change(weights: dict[str, int]) -> None:
    trial = running()
    by_name = {v["name"]: v for v in trial.spec.dump()["variants"]}
    trial.changed(variants=[{**by_name[name], "weight": weight} for name, weight in weights.items()])
    found = trial.step()
    assert (found.transitions, found.record.revision, found.record.epoch) == ((), 1, 1)


def test_an_epoch_after_partial_coverage_cannot_be_compared() -> None:
    trial = Trial(experiment(coverage=30)).until("Running")
    variants = trial.spec.dump()["variants"]
    found = trial.changed(variants=[variants[0], {**variants[1], "weight": 10}]).step()
    assert not found.record.epochs["2"].comparable
    assert "cannot be compared: coverage was below 100% before" in found.transitions[0].message


def test_coverage_is_another_revision_of_the_same_epoch() -> None:
    trial = running()
    found = trial.changed(coverage=30).step()
    assert (found.record.coverage, found.record.revision, found.record.epoch) == (30, 2, 1)
    assert found.record.epochs["1"].coverages == [30, 100]
    assert found.transitions[0].message == "coverage 100% to 30%"


def test_units_that_are_listed_are_another_revision_without_a_transition() -> None:
    trial = running()
    found = trial.changed(overrides={"units": {"1467": "treatment"}}).step()
    assert (found.record.revision, found.transitions) == (2, ())
    assert trial.step().record.revision == 2


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("salt", "another"),
        ("unit", ["request.household"]),
        ("targeting", 'request.channel == "app"'),
        ("metrics", [{"name": METRIC, "event": "purchase", "unit": "customer"}]),
        ("analysis", {"alpha": 0.2}),
        ("variants", weighed(control=50, treatment=50)),
    ],
)
def test_what_may_not_change_stands_still_when_it_did_change(field: str, value: Any) -> None:
    """The API server refuses it by the phase in the status, which someone may have edited."""
    trial = running(onWin="promote")
    before = trial.known
    found = trial.changed(**{field: value}).step(arms(treatment=900))
    assert f"spec.{field} is not what it began with: put it back" in found.waits
    assert (found.record.phase, found.record.ranges) == (before.phase, before.ranges)


def test_nothing_new_is_nothing_to_write() -> None:
    trial = running()
    first = trial.step(arms()).record
    for minutes in (1, 60, 6000):
        assert trial.step(arms(), minutes=minutes).record == first


def test_a_shadow_runs_until_a_person_ends_it() -> None:
    spec = experiment(
        mode="shadow",
        store=None,
        metrics=None,
        primary=None,
        variants=[{"name": "control", "baseline": True}, {"name": "treatment", "model": "basket-ranker-v2"}],
    )
    trial = Trial(spec).until("Running")
    assert {name: size(owned) for name, owned in trial.known.allotted.items()} == quotas(
        {"control": 1, "treatment": 1}
    )
    for _ in range(3):
        found = trial.step(None, page(control=VariantServing(), treatment=VariantServing()))
        assert (found.record.phase, found.transitions) == ("Running", ())


def test_history_keeps_the_last_32() -> None:
    trial = running()
    for place in range(40):
        trial.changed(coverage=place).step()
    assert len(trial.known.history) == 32
    assert trial.known.history[-1].message == "coverage 38% to 39%"
