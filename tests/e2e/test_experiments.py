# SPDX-License-Identifier: Apache-2.0
"""An experiment on real pods: who gets which variant stays through every crash, a change is everywhere at once, and a
variant that fails is served by the baseline and ends by its guardrail.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from typing import Any

import pytest
from basket_shop import LONG
from builders import changed
from drills import SOME, RolledBack, crowd, down, faulty, guarded, rolled_back
from kube import eventually
from live_shop import processes_of
from shoppers import Answer
from trial_shop import (
    EXPERIMENT,
    GRAPH,
    REPLICAS,
    SECONDS,
    TrialShop,
    expected,
    experiment,
    ranges,
    request,
    served,
    told,
    trial,
    units,
    variant,
    weighted,
)

from endcap_api.assignment import BUCKETS, parse_ranges, size

__all__ = ["trial"]
pytestmark = pytest.mark.e2e

MANY = 10_000
RATE = 40.0
# Far beyond chance, and within the step's timeout, so that few requests show it on a busy machine too.
INTERVAL, SLOWER = 5, 0.06


def replace_pods(trial: TrialShop) -> None:
    """Each graph pod without grace, so that one is there at any time."""
    first, *others = trial.ready_pods(f"{GRAPH}-graph")
    for pods in (others, [first]):
        for pod in pods:
            trial.kill(pod)
        eventually(lambda pods=pods: replaced(trial, pods), "the pods are replaced", 120)


def replaced(trial: TrialShop, old: list[dict[str, Any]]) -> bool:
    ready = {pod["metadata"]["uid"] for pod in trial.ready_pods(f"{GRAPH}-graph")}
    return len(ready) == REPLICAS and not ready & {pod["metadata"]["uid"] for pod in old}


def kill_redis(trial: TrialShop) -> None:
    (pod,) = trial.ready_pods("default-store")
    for process in processes_of(pod, "redis-server"):
        os.kill(process, signal.SIGKILL)


def wrong(answers: list[Answer], right: dict[str, str | None]) -> list[Answer]:
    """Answers whose unit was told another variant than the library says."""
    return [a for a in answers if a.ok and variant(a) != right[a.request["customer"]]]


def test_a_unit_has_one_variant_whatever_is_killed(trial: TrialShop) -> None:
    manifest, everyone = experiment(), units(MANY)
    trial.begin(manifest)
    right = expected(manifest, ranges(manifest), everyone)
    with crowd(trial) as load:
        trial.kill_operator()
        kill_redis(trial)
        replace_pods(trial)
        trial.operator_is_back()
    assert wrong(load.answers, right) == []
    assert trial.assignments(everyone) == right
    by_variant = {name: list(right.values()).count(name) for name in ("control", "treatment")}
    print(
        f"\n{MANY:,} units after, and {len(load.answers):,} requests while the operator, Redis and every graph"
    )
    print(f"pod were killed: 0 in another variant, {len(load.failed)} without an answer; {by_variant}")
    # Pods that are new told everything again, and each unit counts once.
    eventually(lambda: trial.counted() == by_variant, f"every unit is counted once: {trial.counted()}", 60)
    assert {one["crossed"] for epoch in trial.sums()["epochs"].values() for one in epoch.values()} == {0}


def owned(trial: TrialShop) -> dict[str, set[int]]:
    """The buckets of each variant at full coverage, as the record says."""
    record = trial.record["ranges"]
    return {
        name: {bucket for each in parse_ranges(texts) for bucket in range(each.start, each.end)}
        for name, texts in record.items()
    }


def everywhere(trial: TrialShop, act: Callable[[], Any]) -> float:
    """Seconds until every replica serves a newer revision of the experiment than before the act."""
    before = trial.record["revision"]
    begun = time.monotonic()
    act()
    eventually(
        lambda: all((revision or 0) > before for revision in trial.revisions_of_it()),
        "every replica serves the change",
        SECONDS,
    )
    return time.monotonic() - begun


WEIGHTS = ((30, 70), (34, 33), (1, 9))


def test_new_weights_are_everywhere_soon_and_move_the_least_units(trial: TrialShop) -> None:
    manifest = weighted(50, 50)
    trial.begin(manifest)
    before, taken = ranges(manifest), []
    pods = {pod["metadata"]["uid"] for pod in trial.ready_pods(f"{GRAPH}-graph")}
    with crowd(trial) as load:
        for weights in WEIGHTS:
            buckets = owned(trial)
            manifest = weighted(*weights)
            taken.append(everywhere(trial, lambda manifest=manifest: trial.apply(manifest)))
            after = ranges(manifest, before)
            moved = sum(len(owned(trial)[name] - buckets[name]) for name in buckets)
            assert moved == sum(abs(size(after[name]) - size(before[name])) for name in after) / 2
            begun = time.monotonic()
            time.sleep(1)
            assert wrong(load.since(begun), expected(manifest, after, units(SOME))) == []
            before = after
    print(
        f"\nnew weights served by every replica after {', '.join(f'{s:.2f} s' for s in taken)} (goal p95 2 s)"
    )
    assert load.failed == []
    assert trial.restarts(f"{GRAPH}-graph") == 0
    assert {pod["metadata"]["uid"] for pod in trial.ready_pods(f"{GRAPH}-graph")} == pods


def test_a_ramp_adds_units_and_nobody_leaves_or_switches(trial: TrialShop) -> None:
    steps = [{"coverage": 5, "hold": "2s"}, {"coverage": 25, "hold": "2s"}, {"coverage": 100}]
    analysis = {"interval": "2s", "minimumUnits": 1_000_000}
    trial.begin(experiment(ramp={"steps": steps}, analysis=analysis), phase="Ramping")
    manifest = experiment()
    right = expected(manifest, ranges(manifest), units(SOME))
    with crowd(trial) as load:
        trial.reaches("Running", 90)
        trial.routed()
        time.sleep(SOME / RATE)
    assert load.failed == []
    seen: dict[str, list[str | None]] = {}
    for answer in sorted(load.answers, key=lambda each: each.at + each.seconds):
        seen.setdefault(answer.request["customer"], []).append(variant(answer))
    assert all(set(found) <= {None, right[unit]} for unit, found in seen.items())
    assert all(
        None not in found[found.index(right[unit]) :] for unit, found in seen.items() if right[unit] in found
    )
    assert all(found[-1] == right[unit] for unit, found in seen.items())
    entries = [each["message"] for each in trial.record["history"]]
    print(f"\nramp: {len(load.answers):,} requests, 0 left, 0 switched: {entries}")
    assert trial.restarts(f"{GRAPH}-graph") == 0


def test_who_aborts_takes_the_treatment_from_everyone_soon(trial: TrialShop) -> None:
    manifest = experiment()
    trial.begin(manifest)
    with crowd(trial) as load:
        time.sleep(2)
        begun = time.monotonic()
        trial.apply(changed(manifest, "spec.decision", {"abort": "a drill"}))
        eventually(lambda: trial.revisions_of_it() == [None] * REPLICAS, "no replica serves it", SECONDS)
        gone = time.monotonic()
        time.sleep(2)
    assert load.failed == []
    assert {variant(answer) for answer in load.since(gone)} == {None}
    assert {variant(answer) for answer in load.answers if answer.at < begun} == {"control", "treatment"}
    print(f"\naborted: no replica serves it {gone - begun:.2f} s after")
    trial.reaches("Aborted")
    trial.says_of_it("Completed", status="True", reason="Aborted")
    assert trial.restarts(f"{GRAPH}-graph") == 0


def test_an_operator_that_is_killed_at_a_change_reassigns_nobody(trial: TrialShop) -> None:
    manifest = weighted(50, 50)
    trial.begin(manifest)
    before = ranges(manifest)
    with crowd(trial) as load:
        for weights in WEIGHTS[:1]:
            manifest = weighted(*weights)
            revision = trial.record["revision"]
            trial.apply(manifest)
            trial.kill_operator()
            trial.operator_is_back()
            eventually(lambda revision=revision: trial.record["revision"] > revision, "decided", 60)
            trial.routed()
            after = ranges(manifest, before)
            assert {name: parse_ranges(texts) for name, texts in trial.record["ranges"].items()} == after
            before = after
        begun = time.monotonic()
        time.sleep(2)
    assert wrong(load.since(begun), expected(manifest, before, units(SOME))) == []
    assert load.failed == []
    assert sum(map(size, before.values())) == BUCKETS


def test_a_deleted_experiment_leaves_the_graph_as_it_was(trial: TrialShop) -> None:
    trial.begin(experiment())
    assert set(trial.assignments(units(50)).values()) == {"control", "treatment"}
    trial.stop()
    answer = trial.ask(GRAPH, request("unit-1"))
    assert "experiments" not in answer
    assert trial.left_of(EXPERIMENT) == []


def whole(answers: list[Answer]) -> bool:
    return len(answers) > RATE / 4 and all(served(answer) == variant(answer) for answer in answers)


def test_a_treatment_that_is_down_is_served_by_the_control_and_the_sample_ratio_stays_clean(
    trial: TrialShop,
) -> None:
    manifest = experiment()
    trial.begin(manifest)
    right = expected(manifest, ranges(manifest), units(SOME))
    with crowd(trial) as load:
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
    """What the goals are of, make bench-experiments-cluster measures."""
    print(f"\n{what}: decided {found.seconds:.1f} s after it began, looked at every {INTERVAL} s;")
    print(f"the last request with the treatment {found.last:+.2f} s from then (goal 10)")
    print(f"{trial.state['verdict']}: {trial.record['history'][-1]['message']}")
    assert found.failed == []
    assert found.last < 10
    trial.says_of_it("GuardrailsHealthy", status="False")
    trial.says_of_it("Completed", status="True", reason="RolledBack")


def test_a_treatment_whose_calls_fail_is_rolled_back(trial: TrialShop) -> None:
    faulty(trial, errors=0.2, seconds=0.0)
    found = rolled_back(trial, guarded(INTERVAL, serving="errorRate", limit=1))
    holds(trial, found, "20 % errors")
    assert any(variant(a) == "treatment" and served(a) == "control" for a in found.answers)


def test_a_treatment_that_is_slow_is_rolled_back(trial: TrialShop) -> None:
    faulty(trial, errors=0.0, seconds=SLOWER)
    found = rolled_back(trial, guarded(INTERVAL, serving="p95Latency", limit=10))
    holds(trial, found, f"{SLOWER * 1000:.0f} ms slower")


def test_a_store_that_is_away_holds_and_never_promotes(trial: TrialShop) -> None:
    """Metrics that nobody can read are no verdict; requests go on, and so does the experiment when they are back."""
    trial.begin(experiment(analysis={"interval": "5s", "minimumUnits": 10}, onWin="promote"))
    (pod,) = trial.ready_pods("default-store")
    with crowd(trial) as load:
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
