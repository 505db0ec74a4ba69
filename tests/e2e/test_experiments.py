# SPDX-License-Identifier: Apache-2.0
"""An experiment on real pods: who gets which variant stays through every crash, and a change is everywhere at once."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from typing import Any

import pytest
from builders import changed
from kube import eventually
from live_shop import processes_of
from shoppers import Answer, Load
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
    trial,
    units,
    variant,
    weighted,
)

from endcap_api.assignment import BUCKETS, parse_ranges, size

__all__ = ["trial"]
pytestmark = pytest.mark.e2e

MANY, SOME = 10_000, 400
RATE = 40.0


def crowd(trial: TrialShop, count: int = SOME) -> Load:
    return Load(trial.graph, [request(unit) for unit in units(count)], RATE)


def replace_pods(trial: TrialShop) -> None:
    """Each graph pod, one after the other, without grace."""
    for old in trial.ready_pods(f"{GRAPH}-graph"):
        trial.kill(old)
        eventually(lambda old=old: replaced(trial, old), "the pod is replaced", 120)


def replaced(trial: TrialShop, old: dict[str, Any]) -> bool:
    ready = {pod["metadata"]["uid"] for pod in trial.ready_pods(f"{GRAPH}-graph")}
    return len(ready) == REPLICAS and old["metadata"]["uid"] not in ready


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
    assert trial.assignments(everyone) == right
    with crowd(trial) as load:
        trial.kill_operator()
        kill_redis(trial)
        replace_pods(trial)
        trial.operator_is_back()
    assert wrong(load.answers, right) == []
    assert trial.assignments(everyone) == right
    by_variant = {name: list(right.values()).count(name) for name in ("control", "treatment")}
    print(
        f"\n{MANY:,} units asked twice and {len(load.answers):,} requests while the operator, Redis and every graph"
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


WEIGHTS = ((30, 70), (60, 40), (34, 33), (1, 9), (50, 50))


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
            time.sleep(1.5)
            assert wrong(load.since(begun), expected(manifest, after, units(SOME))) == []
            before = after
    print(
        f"\nnew weights served by every replica after {', '.join(f'{s:.2f} s' for s in taken)} (goal p95 2 s)"
    )
    assert load.failed == []
    assert trial.restarts(f"{GRAPH}-graph") == 0
    assert {pod["metadata"]["uid"] for pod in trial.ready_pods(f"{GRAPH}-graph")} == pods


def test_a_ramp_adds_units_and_nobody_leaves_or_switches(trial: TrialShop) -> None:
    steps = [{"coverage": 5, "hold": "4s"}, {"coverage": 25, "hold": "4s"}, {"coverage": 100}]
    trial.begin(experiment(ramp={"steps": steps}), phase="Ramping")
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


def test_an_operator_that_is_killed_at_each_change_reassigns_nobody(trial: TrialShop) -> None:
    manifest = weighted(50, 50)
    trial.begin(manifest)
    before = ranges(manifest)
    with crowd(trial) as load:
        for weights in WEIGHTS[:3]:
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
