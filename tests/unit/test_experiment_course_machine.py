# SPDX-License-Identifier: Apache-2.0
"""Whatever happens in whatever order: nobody is moved without a change of weights, or promoted without a reason."""

from __future__ import annotations

import random
from dataclasses import replace
from math import nan
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from measured_experiments import ID, METRIC, NOW, converted, counted, experiment

from endcap_api.assignment import Ranges, quotas, size
from endcap_api.experiment_config import ExperimentSums, experiment_config
from endcap_api.v1alpha1.experiment import ExperimentSpec
from endcap_operator.analysis.look import Look
from endcap_operator.analysis.looking import Seen, look_at
from endcap_operator.plan.experiment.course import Advanced, Facts, advance
from endcap_operator.plan.experiment.record import (
    Pin,
    Record,
    assigned_of,
    is_partition,
    read_record,
    text_of,
)

PINS = {n: Pin(model=f"ranker-{n}", label=f"ranker-{n}@1", sha256=n * 64) for n in "ab"}
FACTS = Facts("ranker-v2", ID, pins=PINS, synced=True, named=frozenset({"control"}))
VARIANTS = ("control", "a", "b")
UNITS = {"none": 0, "few": 100, "enough": 3000, "many": 8000}


def spec_of(weights: tuple[int, ...] = (2, 1, 1), **changes: Any) -> ExperimentSpec:
    variants = [
        {"name": n, "weight": w, **({"baseline": True} if n == "control" else {"model": f"ranker-{n}"})}
        for n, w in zip(VARIANTS, weights, strict=True)
    ]
    return experiment(variants=variants, **changes)


def owners(ranges: dict[str, Ranges]) -> list[str]:
    by_bucket = {b: n for n, owned in ranges.items() for each in owned for b in range(each.start, each.end)}
    return [by_bucket[b] for b in range(10_000)]


def sums(
    record: Record, units: int, rates: dict[str, float], at_ms: int, *, broken: str = ""
) -> ExperimentSums:
    """Units in the ratio of each epoch's buckets, with outcomes of these rates; `broken` is how they are spoilt."""
    epochs = {}
    for number, epoch in record.epochs.items():
        arms = {n: units * b // 10_000 for n, b in epoch.buckets.items()}
        epochs[number] = {n: converted(c, round(c * rates[n])) for n, c in arms.items()}
        if broken == "nan":
            told = epochs[number]["a"].metrics[METRIC].model_copy(update={"yy": nan})
            epochs[number]["a"] = epochs[number]["a"].model_copy(update={"metrics": {METRIC: told}})
        if broken == "lost":
            epochs[number]["a"] = epochs[number]["a"].model_copy(update={"metrics": {}})
        if broken == "ratio":
            epochs[number]["a"] = converted(epochs[number]["a"].units * 2 + 1000, 0)
    at = 0 if broken == "old" else at_ms
    return counted(epochs).model_copy(update={"at_ms": at, "id": "another" if broken == "other" else ID})


class Course(RuleBasedStateMachine):
    """Time goes on, persons edit, models come and go, figures come or do not, and writes are lost."""

    @initialize(ramp=st.booleans(), on_win=st.sampled_from(["promote", "requireApproval", "nothing", None]))
    def created(self, ramp: bool, on_win: str | None) -> None:  # noqa: FBT001
        self.changes: dict[str, Any] = {"onWin": on_win}
        self.weights = (2, 1, 1)
        if ramp:
            self.changes["ramp"] = {
                "steps": [
                    {"coverage": 5, "hold": "1m"},
                    {"coverage": 40, "approval": True},
                    {"coverage": 100},
                ]
            }
        self.facts, self.now = FACTS, NOW
        self.record: Record | None = None
        self.seen: dict[int, Any] = {}
        self.plan(None)

    @property
    def spec(self) -> ExperimentSpec:
        return spec_of(self.weights, **self.changes)

    def plan(self, look: Look | None) -> None:
        before = self.record
        found = advance(self.spec, before, self.facts, look, self.now)
        again = advance(self.spec, before, self.facts, look, self.now)
        assert found == again, "repeatable"
        self.judge(before, found, look)
        self.record = read_record(text_of(found.record), ID)
        assert self.record == found.record

    def judge(self, before: Record | None, found: Advanced, look: Look | None) -> None:
        after = found.record
        assert len(found.transitions) <= 1
        if before is None:
            return
        assert after.revision >= before.revision
        if before.final:
            assert after == before
        if before.began is not None:
            was, now = owners(before.allotted), owners(after.allotted)
            moved = sum(a != b for a, b in zip(was, now, strict=True))
            old, new = quotas(before.weights), quotas(after.weights)
            assert moved == sum(abs(old[n] - new[n]) for n in VARIANTS) // 2
            assert (after.epoch != before.epoch) == (after.ranges != before.ranges) or moved == 0
        if after.phase == "Promoting" and before.phase not in ("Promoting", "Paused"):
            self.justified(before, after, look)

    def justified(self, before: Record, after: Record, look: Look | None) -> None:
        if (self.changes.get("decision") or {}).get("promote") == after.everyone:
            return
        assert self.changes["onWin"] == "promote"
        assert look is not None
        assert look.verdict is not None
        assert (look.verdict.kind, look.verdict.variant) == ("Better", after.everyone)
        assert look.fresh
        assert look.units >= 1000
        assert not before.mismatch
        assert not look.breached
        assert after.everyone not in self.facts.unready
        assert before.phase == "Running"

    @rule(
        units=st.sampled_from(list(UNITS)),
        lifts=st.sampled_from([(0.1, 0.1), (0.1, 0.2), (0.2, 0.1), (0.02, 0.02), (0.1, 0.01)]),
        broken=st.sampled_from(["", "", "", "nan", "lost", "old", "other", "ratio", "none"]),
        minutes=st.integers(0, 5),
    )
    def looks(self, units: str, lifts: tuple[float, float], broken: str, minutes: int) -> None:
        self.now += minutes * 60_000
        assert self.record is not None
        rates = dict(zip(VARIANTS, (0.1, *lifts), strict=True))
        told = None if broken == "none" else sums(self.record, UNITS[units], rates, self.now, broken=broken)
        self.plan(look_at(self.spec, self.record.epochs, Seen(told, ()).of(ID), self.now))

    @rule()
    def passes_without_a_look(self) -> None:
        self.now += 30_000
        self.plan(None)

    @rule(weights=st.tuples(st.integers(1, 9), st.integers(0, 9), st.integers(0, 9)))
    def weighs(self, weights: tuple[int, int, int]) -> None:
        self.weights = weights

    @precondition(lambda self: "ramp" not in self.changes)
    @rule(coverage=st.integers(0, 100))
    def covers(self, coverage: int) -> None:
        self.changes["coverage"] = coverage

    @precondition(lambda self: "ramp" in self.changes)
    @rule(approved=st.sampled_from([None, 5, 40, 100]))
    def approves(self, approved: int | None) -> None:
        self.changes["ramp"] = {
            "steps": self.changes["ramp"]["steps"],
            **({"approved": approved} if approved else {}),
        }

    @rule(enabled=st.booleans())
    def pauses(self, enabled: bool) -> None:  # noqa: FBT001
        self.changes["enabled"] = enabled

    @rule(on_win=st.sampled_from(["promote", "requireApproval", "nothing"]))
    def wants(self, on_win: str) -> None:
        self.changes["onWin"] = on_win

    @rule(unit=st.sampled_from(["1467", "1468"]))
    def lists(self, unit: str) -> None:
        self.changes["overrides"] = {"units": {unit: "a"}}

    @rule(decision=st.sampled_from([None, None, None, {"promote": "b"}, {"abort": "enough"}]))
    def decides(self, decision: dict[str, str] | None) -> None:
        self.changes["decision"] = decision

    @rule(
        unready=st.sampled_from([(), (), ("a",)]),
        synced=st.booleans(),
        problems=st.sampled_from([(), (), ("no step rank",)]),
        named=st.sampled_from([("control",), ("control",), ("control", "b")]),
    )
    def changes_around_it(self, unready: Any, synced: bool, problems: Any, named: Any) -> None:  # noqa: FBT001
        self.facts = replace(FACTS, unready=unready, synced=synced, problems=problems, named=frozenset(named))

    @rule()
    def loses_a_write(self) -> None:
        """The operator is killed between its decision and its write: it decides again, later."""
        advance(self.spec, self.record, self.facts, None, self.now)
        self.now += 60_000

    @invariant()
    def what_the_graph_is_told_has_its_revision(self) -> None:
        """Two things that differ never go by one number."""
        if self.record is None:
            return
        assert is_partition(self.record.allotted)
        assigned = assigned_of(self.record, None)
        settled = advance(self.spec, self.record, self.facts, None, self.now).record
        if assigned is None or self.facts.problems or settled != self.record:
            return
        told = experiment_config("ranker-v2", self.spec, assigned).model_dump()
        del told["revision"]
        assert self.seen.setdefault(self.record.revision, told) == told


TestCourse = Course.TestCase
TestCourse.settings = settings(max_examples=40, stateful_step_count=25, deadline=None)


@pytest.mark.parametrize("seed", range(50))
def test_an_operator_that_is_killed_at_any_transition_moves_nobody(seed: int) -> None:
    """The same story without and with lost writes: ranges and phases are the same, whichever write was lost."""
    dice = random.Random(seed)  # noqa: S311

    def story(*, losing: bool) -> list[tuple[str, int, dict[str, list[str]]]]:
        record: Record | None = None
        told = []
        edits = [
            {},
            {"coverage": 30},
            {"weights": (1, 1, 2)},
            {"enabled": False},
            {"enabled": True},
            {"weights": (3, 1, 0)},
            {"coverage": 100},
        ]
        changes: dict[str, Any] = {"onWin": "nothing"}
        weights = (2, 1, 1)
        for place, edit in enumerate(edits):
            weights = edit.get("weights", weights)
            changes |= {k: v for k, v in edit.items() if k != "weights"}
            for attempt in range(6):
                now = NOW + 100_000 * place + 10_000 * attempt
                found = advance(spec_of(weights, **changes), record, FACTS, None, now).record
                if losing and dice.random() < 0.5 and attempt < 3:
                    continue
                record = found
            assert record is not None
            told.append((record.phase, record.epoch, record.ranges))
        return told

    assert story(losing=True) == story(losing=False)


@pytest.mark.parametrize("broken", ["none", "nan", "lost", "old", "other"])
@pytest.mark.parametrize("seed", range(20))
def test_no_figures_promote_nobody(broken: str, seed: int) -> None:
    """100 drills: however good a treatment would look, its figures are away, old, lost or no number."""
    dice = random.Random(seed)  # noqa: S311
    spec = spec_of(onWin="promote")
    record = advance(spec, None, FACTS, None, NOW).record
    for place in range(1, 12):
        now = NOW + 30_000 * place
        rates = {"control": 0.1, "a": 0.1 + dice.random() / 2, "b": 0.1}
        told = None if broken == "none" else sums(record, 1000 * place, rates, now, broken=broken)
        look = look_at(spec, record.epochs, Seen(told, ()).of(ID), now)
        record = advance(spec, record, FACTS, look, now).record
        assert (record.phase, record.everyone) == ("Running", None)
        assert sum(size(owned) for owned in record.allotted.values()) == 10_000
    whole = sums(record, 20_000, {"control": 0.1, "a": 0.3, "b": 0.1}, NOW + 10**6)
    look = look_at(spec, record.epochs, Seen(whole, ()), NOW + 10**6)
    assert advance(spec, record, FACTS, look, NOW + 10**6).record.everyone == "a", "with figures it would be"
