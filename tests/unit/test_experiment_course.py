# SPDX-License-Identifier: Apache-2.0
"""The course of an experiment, a situation a test: where it goes, what that changes, and what it says."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from measured_experiments import ID, METRIC, NOW, converted, counted, experiment, page, weighed

from endcap_api.assignment import quotas, size
from endcap_api.experiment_config import ExperimentSums, VariantServing, VariantSums
from endcap_api.v1alpha1.experiment import ExperimentSpec
from endcap_operator.analysis.looking import Seen, look_at
from endcap_operator.plan.experiment.course import Advanced, Facts, advance
from endcap_operator.plan.experiment.record import Pin, Record, assigned_of

MINUTE = 60_000
PIN = Pin(model="basket-ranker-v2", label="basket-ranker-v2@2", sha256="2" * 64)
OTHER = Pin(model="basket-ranker-v2", label="basket-ranker-v2@3", sha256="3" * 64)
FACTS = Facts("ranker-v2", ID, pins={"treatment": PIN}, synced=True, named=frozenset({"control"}))
RAMP = {
    "steps": [
        {"coverage": 5, "hold": "10m", "minimumUnits": 500},
        {"coverage": 50, "approval": True},
        {"coverage": 100},
    ]
}


def arms(control: int = 500, treatment: int = 500, units: int = 5000) -> dict[str, VariantSums]:
    return {"control": converted(units, control), "treatment": converted(units, treatment)}


@dataclass
class Trial:
    """An experiment under way; each call is one plan of the operator."""

    spec: ExperimentSpec = field(default_factory=experiment)
    facts: Facts = FACTS
    record: Record | None = None
    now: int = NOW

    def changed(self, **changes: Any) -> Trial:
        said = {**self.spec.dump(), **changes}
        self.spec = ExperimentSpec.model_validate({k: v for k, v in said.items() if v is not None})
        return self

    def step(
        self, sums: dict[str, VariantSums] | ExperimentSums | None = None, *pages: Any, minutes: float = 1
    ) -> Advanced:
        self.now += round(minutes * MINUTE)
        told = counted(**sums) if isinstance(sums, dict) else sums
        if told is not None:
            told = told.model_copy(update={"at_ms": told.at_ms + self.now - NOW})
        look = None
        if (told is not None or pages) and self.record is not None:
            look = look_at(self.spec, self.record.epochs, Seen(told, pages), self.now)
        found = advance(self.spec, self.record, self.facts, look, self.now)
        self.record = found.record
        return found

    def until(self, phase: str, sums: dict[str, VariantSums] | None = None) -> Trial:
        for _ in range(12):
            if self.step(sums).record.phase == phase:
                return self
        raise AssertionError(f"{self.record and self.record.phase} is never {phase}")

    @property
    def known(self) -> Record:
        assert self.record is not None
        return self.record


def running(**changes: Any) -> Trial:
    return Trial(experiment(**changes)).until("Running")


def ranges(trial: Trial) -> dict[str, list[str]]:
    return dict(trial.known.ranges)


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
    from endcap_api.assignment import covered

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


MISMATCHED = {"control": converted(9000, 900), "treatment": converted(5000, 750)}


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


def test_a_mismatch_ends_when_the_units_are_spent() -> None:
    trial = running(analysis={"maximumUnits": 20_000})
    trial.step(MISMATCHED)
    assert trial.step({n: converted(10_000, 900) for n in ("control", "treatment")}).record.phase == "Ended"


def failing() -> Any:
    return page(control=VariantServing(requests=900), treatment=VariantServing(requests=900, errors=90))


@pytest.mark.parametrize("phase", ["Ramping", "Running", "AwaitingApproval"])
def test_a_broken_guardrail_rolls_back(phase: str) -> None:
    ramp = {"steps": [{"coverage": 5, "hold": "1h"}]} if phase == "Ramping" else None
    trial = Trial(experiment(ramp=ramp, guardrails=[{"serving": "errorRate", "limit": 1}]))
    trial.until(phase, arms(treatment=750) if phase == "AwaitingApproval" else None)
    trial.facts = replace(FACTS, problems=("its traffic goes on",))
    found = trial.step(None, failing())
    assert (found.record.phase, found.record.spoilt) == ("RolledBack", "errorRate")
    assert found.transitions[0].message.startswith("errorRate: treatment: 10.0% of 900 against 0.0% of 900")
    assert assigned_of(found.record, None) is None


def test_who_is_promoted_is_not_rolled_back_by_what_nobody_serves_any_more() -> None:
    trial = running(onWin="promote", guardrails=[{"serving": "errorRate", "limit": 1}])
    trial.until("Promoting", arms(treatment=750))
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
