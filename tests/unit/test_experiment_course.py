# SPDX-License-Identifier: Apache-2.0
"""The course of an experiment by itself: how it begins, climbs and ends, and what that changes and says."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from experiment_trial import (
    FACTS,
    MINUTE,
    MISMATCHED,
    OTHER,
    PIN,
    RAMP,
    Trial,
    arms,
    failing,
    ranges,
    running,
)
from measured_experiments import converted, counted, experiment, weighed

from endcap_api.assignment import covered
from endcap_operator.plan.experiment.course import Facts
from endcap_operator.plan.experiment.record import assigned_of

# Before it begins


def test_it_begins_when_its_models_are_there() -> None:
    trial = Trial(facts=replace(FACTS, unready=("treatment",)))
    found = trial.step()
    assert (found.record.phase, found.waits) == ("Pending", "not ready to serve: treatment")
    assert assigned_of(found.record, None) is None
    trial.facts = FACTS
    found = trial.step()
    assert [entry.phase for entry in found.transitions] == ["Running"]
    assert found.transitions[0].message == "100% take part: control 50, treatment 50"
    assert found.record.pins == {"treatment": PIN}
    assert found.record.revision == 1


def test_one_that_is_not_accepted_stays_as_it_is() -> None:
    trial = Trial(facts=replace(FACTS, problems=("spec.step: basket has no step ranc: use rank",)))
    found = trial.step()
    assert found.record.phase == "Pending"
    assert "use rank" in found.waits


def test_until_it_begins_its_buckets_follow_its_weights() -> None:
    trial = Trial(facts=replace(FACTS, unready=("treatment",)))
    trial.step()
    trial.changed(variants=weighed(control=90, treatment=10)).step()
    assert ranges(trial) == {"control": ["0-9000"], "treatment": ["9000-10000"]}
    assert (trial.known.epoch, trial.known.revision) == (1, 1)


def test_given_buckets_are_taken() -> None:
    given = {"control": ["5000-10000"], "treatment": ["0-2500", "2500-5000"]}
    variants = [{**v, "buckets": given[v["name"]]} for v in weighed(control=50, treatment=50)]
    trial = Trial(experiment(variants=variants)).until("Running")
    assert ranges(trial) == given


def test_buckets_that_overlap_are_not_taken() -> None:
    variants = [{**v, "buckets": ["0-5000"]} for v in weighed(control=50, treatment=50)]
    trial = Trial(experiment(variants=variants), replace(FACTS, problems=("overlap",)))
    trial.step()
    assert ranges(trial) == {"control": ["0-5000"], "treatment": ["5000-10000"]}


# The ramp


def test_a_ramp_waits_for_its_hold_its_units_and_its_approval() -> None:
    trial = Trial(experiment(ramp=RAMP))
    assert trial.step().record.coverage == 5
    held = trial.step(arms())
    assert held.waits == "hold of 10m at 5%"
    assert held.due_ms == held.record.coverage_since_ms + 10 * MINUTE
    few = trial.step(arms(units=200, control=20, treatment=20), minutes=10)
    assert (few.record.coverage, few.waits) == (5, "400 of 500 units")
    raised = trial.step(arms())
    assert raised.record.coverage == 50
    assert raised.transitions[0].message == "coverage 5% to 50%, 10000 units"
    assert trial.step(arms(), minutes=999).waits == "approval: set spec.ramp.approved to 50"
    trial.changed(ramp={**RAMP, "approved": 50})
    assert trial.step(arms()).record.coverage == 100
    done = trial.step(arms())
    assert (done.record.phase, done.record.coverage) == ("Running", 100)


@pytest.mark.parametrize(
    ("facts", "sums", "waits"),
    [
        (FACTS, None, "the next look"),
        (replace(FACTS, synced=False), arms(), "not every replica of the graph serves it yet"),
        (replace(FACTS, unready=("treatment",)), arms(), "not ready to serve: treatment"),
        (FACTS, counted(**arms()).model_copy(update={"lag_ms": 10**6}), "an exposure or outcome has waited"),
        (replace(FACTS, problems=("no step rank",)), arms(), "not accepted: no step rank"),
    ],
)
def test_a_ramp_does_not_go_on_while_something_is_amiss(facts: Facts, sums: Any, waits: str) -> None:
    trial = Trial(experiment(ramp={"steps": [{"coverage": 5}, {"coverage": 100}]})).until("Ramping")
    trial.facts = facts
    found = trial.step(sums)
    assert found.record.coverage == 5
    assert waits in found.waits
    trial.facts = FACTS
    assert trial.step(arms()).record.coverage == 100


def test_whoever_is_in_stays_and_nobody_changes_variant() -> None:
    trial = Trial(
        experiment(
            variants=weighed(control=2, treatment=1),
            ramp={"steps": [{"coverage": c} for c in (1, 5, 25, 100)]},
        )
    )
    before: dict[int, str] = {}
    for _ in range(8):
        sums = {"control": converted(6000, 600), "treatment": converted(3000, 300)}
        assigned = assigned_of(trial.step(sums).record, None)
        now = assigned_buckets(assigned)
        assert before.items() <= now.items()
        before = now
    assert len(before) == 10_000


def assigned_buckets(assigned: Any) -> dict[int, str]:
    return {
        b: name
        for name, owned in assigned.ranges.items()
        for each in covered(owned, assigned.coverage)
        for b in range(each.start, each.end)
    }


def test_a_ramp_that_is_edited_goes_on_from_where_it_is() -> None:
    trial = Trial(experiment(ramp={"steps": [{"coverage": 20, "hold": "99h"}, {"coverage": 100}]})).until(
        "Ramping"
    )
    trial.changed(ramp={"steps": [{"coverage": 10}, {"coverage": 30, "hold": "1h"}, {"coverage": 60}]})
    assert trial.step(arms()).record.coverage == 30, "never down by itself"
    trial.changed(ramp={"steps": [{"coverage": 60}]})
    assert trial.step(arms()).record.coverage == 60
    trial.changed(ramp=None, coverage=40)
    assert trial.step(arms()).record.phase == "Running"
    assert trial.step(arms()).record.coverage == 40, "a person may"


def test_a_verdict_waits_for_the_ramp() -> None:
    trial = Trial(
        experiment(onWin="promote", ramp={"steps": [{"coverage": 5, "hold": "1h"}, {"coverage": 100}]})
    )
    trial.until("Ramping")
    for _ in range(5):
        assert trial.step(arms(treatment=900)).record.phase == "Ramping"


# Verdicts


@pytest.mark.parametrize(
    ("on_win", "phase", "everyone"),
    [
        (None, "AwaitingApproval", None),
        ("requireApproval", "AwaitingApproval", None),
        ("promote", "Promoting", "treatment"),
        ("nothing", "Running", None),
    ],
)
def test_what_follows_a_win(on_win: str | None, phase: str, everyone: str | None) -> None:
    trial = running(onWin=on_win)
    found = trial.step(arms(treatment=750))
    assert (found.record.phase, found.record.everyone) == (phase, everyone)
    assert found.record.verdict is not None
    assert (found.record.verdict.kind, found.record.verdict.variant) == ("Better", "treatment")
    assert "+50.0% [+26.1%, +79.7%] at 10000 units" in found.transitions[0].message


def test_a_win_that_stays_one_is_told_once() -> None:
    trial = running(onWin="nothing")
    assert len(trial.step(arms(treatment=750)).transitions) == 1
    for conversions in (760, 500, 770):
        found = trial.step(arms(treatment=conversions))
        assert not found.transitions
        assert found.record.verdict
        assert found.record.verdict.kind == "Better"


def test_an_old_win_promotes_nobody() -> None:
    """Found when nothing was to follow; by the time that something is, the figures say nothing any more."""
    trial = running(onWin="nothing")
    trial.step(arms(treatment=750))
    trial.changed(onWin="promote")
    for sums in (None, arms(treatment=510), arms(treatment=510)):
        assert trial.step(sums).record.phase == "Running"


@pytest.mark.parametrize(
    ("facts", "waits"),
    [
        (replace(FACTS, unready=("treatment",)), "it is not ready to serve"),
        (replace(FACTS, pins={"treatment": OTHER}), "treatment is no longer what was measured"),
        (replace(FACTS, synced=False), "not every replica of the graph serves it yet"),
    ],
)
def test_a_winner_that_is_not_fit_is_not_promoted(facts: Facts, waits: str) -> None:
    trial = running(onWin="promote")
    trial.facts = facts
    found = trial.step(arms(treatment=750))
    assert found.record.phase == "Running"
    assert waits in found.waits
    trial.facts = FACTS
    assert trial.step(arms(treatment=750)).record.phase == "Promoting"


@pytest.mark.parametrize(("on_win", "phase"), [(None, "Ended"), ("promote", "Ended"), ("nothing", "Running")])
def test_when_no_treatment_can_win_any_more_it_ends(on_win: str | None, phase: str) -> None:
    found = running(onWin=on_win).step(arms(control=750))
    assert found.record.phase == phase
    assert found.record.verdict
    assert found.record.verdict.kind == "Worse"


def test_units_that_are_spent_end_it() -> None:
    found = running(analysis={"maximumUnits": 10_000}).step(arms(treatment=505))
    assert found.record.phase == "Ended"
    assert found.record.verdict
    assert found.record.verdict.kind == "Inconclusive"


def test_a_mismatch_is_for_ever() -> None:
    trial = running(onWin="promote")
    found = trial.step(MISMATCHED)
    assert found.record.phase == "Running"
    assert found.record.mismatch
    assert "control 9000, treatment 5000" in found.transitions[0].message
    revision = found.record.revision
    for _ in range(3):
        found = trial.step(arms(treatment=900))
        assert (found.record.phase, found.transitions) == ("Running", ())
        assert found.record.verdict
        assert found.record.verdict.kind == "Invalid"
    assert found.record.revision == revision


def test_a_mismatch_takes_a_win_back() -> None:
    trial = running().until("AwaitingApproval", arms(treatment=750))
    found = trial.step(MISMATCHED)
    assert (found.record.phase, found.record.verdict and found.record.verdict.kind) == ("Running", "Invalid")


def test_coverage_is_followed_while_a_win_waits_for_approval() -> None:
    trial = running().until("AwaitingApproval", arms(treatment=750))
    trial.changed(coverage=20)
    found = trial.step(arms(treatment=750))
    assert (found.record.phase, found.record.coverage) == ("AwaitingApproval", 20)


def test_a_mismatch_ends_when_the_units_are_spent() -> None:
    trial = running(analysis={"maximumUnits": 20_000})
    trial.step(MISMATCHED)
    assert trial.step({n: converted(10_000, 900) for n in ("control", "treatment")}).record.phase == "Ended"


@pytest.mark.parametrize("phase", ["Ramping", "Running", "AwaitingApproval"])
def test_a_broken_guardrail_rolls_back(phase: str) -> None:
    ramp = {"steps": [{"coverage": 5, "hold": "1h"}]} if phase == "Ramping" else None
    trial = Trial(experiment(ramp=ramp, guardrails=[{"serving": "errorRate", "limit": 1}]))
    trial.until(phase, arms(treatment=750) if phase == "AwaitingApproval" else None, failing(0))
    trial.facts = replace(FACTS, problems=("its traffic goes on",))
    found = trial.step(None, failing())
    assert (found.record.phase, found.record.spoilt) == ("RolledBack", "errorRate")
    assert found.transitions[0].message.startswith("errorRate: treatment: 10.0% of 900 against 0.0% of 900")
    assert assigned_of(found.record, None) is None


def test_a_suspect_is_rolled_back_by_the_second_look_in_a_row() -> None:
    trial = running(guardrails=[{"serving": "errorRate", "limit": 1}])
    for errors in (28, 9, 28):
        assert trial.step(None, failing(errors)).record.phase == "Running"
        assert trial.step(None).record.phase == "Running", "no look between two is no look"
    assert trial.step(None, failing(28)).record.phase == "RolledBack"


def test_a_ramp_lets_no_more_units_in_while_a_guardrail_is_suspect() -> None:
    ramp = {"steps": [{"coverage": 5}, {"coverage": 100}]}
    trial = Trial(experiment(ramp=ramp, guardrails=[{"serving": "errorRate", "limit": 1}])).until("Ramping")
    found = trial.step(arms(), failing(28))
    assert (found.record.coverage, found.waits) == (
        5,
        "errorRate may be broken by treatment: the next look decides",
    )
    assert trial.step(arms(), failing(9)).record.coverage == 100


def test_who_is_promoted_is_not_rolled_back_by_what_nobody_serves_any_more() -> None:
    trial = running(onWin="promote", guardrails=[{"serving": "errorRate", "limit": 1}])
    trial.until("Promoting", arms(treatment=750), failing(0))
    assert trial.step(None, failing()).record.phase == "Promoting"


def test_what_it_waits_for_is_said_alike_between_looks_and_with_one() -> None:
    """A message that changed with each look would be written with each look."""
    held = Trial(experiment(ramp=RAMP)).until("Ramping")
    undecided = running()
    unfit = running(onWin="promote")
    unfit.facts = replace(FACTS, unready=("treatment",))
    noted = running(onWin="nothing")
    spoilt = running()
    spoilt.step(MISMATCHED)
    old = counted(**arms()).model_copy(update={"at_ms": 0})
    for trial, sums in (
        (held, old),
        (undecided, arms()),
        (unfit, arms(treatment=750)),
        (noted, arms(treatment=750)),
        (spoilt, arms()),
    ):
        trial.step(sums)
        with_one = trial.step(sums)
        between = trial.step(None)
        assert with_one.waits
        assert (between.waits, between.record) == (with_one.waits, with_one.record)
