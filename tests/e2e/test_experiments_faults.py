# SPDX-License-Identifier: Apache-2.0
"""A variant that fails or is slow on real pods: the baseline serves, the books stay true, and a guardrail ends it."""

from __future__ import annotations

import os
import signal
import time

import pytest
from basket_shop import LONG
from drills import INTERVAL, RolledBack, crowd, down, faulty, guarded, rolled_back, slower_by
from kube import eventually
from live_shop import processes_of
from shoppers import Answer
from trial_shop import TrialShop, expected, experiment, ranges, served, told, trial, units, variant

__all__ = ["trial"]
pytestmark = pytest.mark.e2e

SOME = 400
RATE = 40.0


def whole(answers: list[Answer]) -> bool:
    return len(answers) > RATE / 4 and all(served(answer) == variant(answer) for answer in answers)


def test_a_treatment_that_is_down_is_served_by_the_control_and_the_sample_ratio_stays_clean(
    trial: TrialShop,
) -> None:
    manifest = experiment()
    trial.begin(manifest)
    right = expected(manifest, ranges(manifest), units(SOME))
    with crowd(trial, RATE) as load:
        with down(trial, "basket-ranker"):
            time.sleep(1)
            begun = time.monotonic()
            time.sleep(SOME / RATE)
            ended = time.monotonic()
        eventually(lambda: whole(load.since(time.monotonic() - 1)), "the treatment serves again", LONG)
    assert load.failed == []
    assert [a for a in load.answers if variant(a) != right[a.request["customer"]]] == []
    during = [answer for answer in load.since(begun) if answer.at < ended]
    assert {(variant(answer), served(answer)) for answer in during} == {
        ("control", "control"),
        ("treatment", "control"),
    }
    assert all(told(answer).get("served") == "control" for answer in during if variant(answer) == "treatment")
    by_variant = {name: list(right.values()).count(name) for name in ("control", "treatment")}
    eventually(lambda: trial.counted() == by_variant, f"every unit is counted: {by_variant}", 60)
    (epoch,) = trial.sums()["epochs"].values()
    assert epoch["treatment"]["fallback"] > 0
    assert epoch["control"]["fallback"] == 0
    trial.says_of_it("SampleRatioHealthy", status="True")
    slowest = max(answer.seconds for answer in during if variant(answer) == "treatment")
    print(
        f"\n{len(during)} requests while the treatment was down: 0 failed, slowest {slowest * 1000:.0f} ms;"
    )
    print(f"{by_variant}; the control served {epoch['treatment']['fallback']} of the treatment's units first")


def holds(trial: TrialShop, found: RolledBack, what: str) -> None:
    """Bounds ten times as wide as the goals; the figures are printed."""
    print(f"\n{what}: decided {found.intervals:.1f} intervals of {INTERVAL} s after it began (goal 2);")
    print(f"the last request with the treatment {found.last:+.2f} s from then (goal 10)")
    print(f"{trial.state['verdict']}: {trial.record['history'][-1]['message']}")
    assert found.failed == []
    assert found.last < 10
    trial.says_of_it("GuardrailsHealthy", status="False")
    trial.says_of_it("Completed", status="True", reason="RolledBack")


def test_a_treatment_whose_calls_fail_is_rolled_back(trial: TrialShop) -> None:
    faulty(trial, errors=0.05, seconds=0.0)
    found = rolled_back(trial, guarded(serving="errorRate", limit=1))
    holds(trial, found, "5 % errors")
    assert any(variant(a) == "treatment" and served(a) == "control" for a in found.answers)


def test_a_treatment_that_is_slow_is_rolled_back(trial: TrialShop) -> None:
    slower = slower_by(trial, 0.3)
    found = rolled_back(trial, guarded(serving="p95Latency", limit=10))
    holds(trial, found, f"p95 +30 %, {slower * 1000:.0f} ms")


def test_a_store_that_is_away_holds_and_never_promotes(trial: TrialShop) -> None:
    """Metrics that nobody can read are no verdict; requests go on, and so does the experiment when they are back."""
    trial.begin(experiment(analysis={"interval": "5s", "minimumUnits": 10}, onWin="promote"))
    (pod,) = trial.ready_pods("default-store")
    with crowd(trial, RATE) as load:
        found = processes_of(pod, "redis-server")
        for process in found:
            os.kill(process, signal.SIGSTOP)
        try:
            trial.says_of_it("MetricsFresh", status="False")
            time.sleep(10)
            assert trial.state["phase"] == "Running"
        finally:
            for process in found:
                os.kill(process, signal.SIGCONT)
        trial.says_of_it("MetricsFresh", status="True")
    assert load.failed == []
    assert trial.state["phase"] == "Running"
