# SPDX-License-Identifier: Apache-2.0
"""A variant that fails or is slow on real pods: the baseline serves, the books stay true, and a guardrail ends it."""

from __future__ import annotations

import os
import signal
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from basket_shop import LONG, pushed
from builders import changed
from kube import eventually
from live_shop import processes_of
from shoppers import Answer, Load
from trial_shop import (
    SMALL,
    TrialShop,
    example,
    expected,
    experiment,
    ranges,
    request,
    served,
    told,
    trial,
    units,
    variant,
)

from endcap_cli.packing import pack

__all__ = ["trial"]
pytestmark = pytest.mark.e2e

SOME = 400
RATE = 40.0
# Enough requests of each variant in one interval for a rate of 5 % to be beyond chance.
DRILL_RATE, INTERVAL = 60.0, 10
DRILL = "drill-ranker"
MODULE = """
import random
import time


def load(directory):
    def predict(columns):
        time.sleep({seconds})
        if random.random() < {errors}:
            raise RuntimeError("a drill")
        return {{"score": columns["household_share"]}}

    return predict
"""


def crowd(trial: TrialShop, rate: float = RATE) -> Load:
    return Load(trial.graph, [request(unit) for unit in units(SOME)], rate)


@contextmanager
def down(trial: TrialShop, model: str) -> Iterator[None]:
    """Its processes stand still: who asks waits for nothing, and the kubelet calls the pod unready."""
    (pod,) = trial.ready_pods(f"{model}-model")
    found = processes_of(pod, "python3.11") or processes_of(pod, "python")
    assert found, f"no process of {model} is on this machine"
    try:
        for process in found:
            os.kill(process, signal.SIGSTOP)
        yield
    finally:
        for process in found:
            os.kill(process, signal.SIGCONT)


def whole(answers: list[Answer]) -> bool:
    return bool(answers) and all(served(answer) == variant(answer) for answer in answers)


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
    eventually(lambda: trial.counted() == by_variant, f"every unit is counted: {trial.counted()}", 60)
    (epoch,) = trial.sums()["epochs"].values()
    assert epoch["treatment"]["fallback"] > 0
    assert epoch["control"]["fallback"] == 0
    trial.says_of_it("SampleRatioHealthy", status="True")
    slowest = max(answer.seconds for answer in during if variant(answer) == "treatment")
    print(
        f"\n{len(during)} requests while the treatment was down: 0 failed, the slowest took {slowest * 1000:.0f} ms;"
    )
    print(f"{by_variant}, {epoch['treatment']['fallback']} of the treatment's were exposed to the control")


def drilled(trial: TrialShop, errors: float, seconds: float) -> None:
    """The ranker of the drill: so many calls fail, and all take so much longer."""
    with tempfile.TemporaryDirectory() as directory:
        source = Path(directory) / "source"
        source.mkdir()
        (source / "drill.py").write_text(MODULE.format(errors=errors, seconds=seconds))
        pack(source, Path(directory) / "1.tar.gz")
        content = (Path(directory) / "1.tar.gz").read_bytes()
    artefact = pushed(f"{DRILL}/{time.time_ns()}/1.tar.gz", content)
    manifest = example()["ModelDeployment", "basket-ranker"]
    spec = manifest["spec"]
    model = spec["model"] | artefact | {"entryPoint": "drill:load"}
    trial.apply(
        manifest
        | {
            "metadata": {"name": DRILL},
            "spec": spec | {"framework": "python", "model": model, "resources": SMALL},
        }
    )
    trial.says("ModelDeployment", DRILL, "Ready", LONG, status="True")


def guarded(**guardrail: Any) -> dict[str, Any]:
    manifest = experiment(
        guardrails=[guardrail], analysis={"interval": f"{INTERVAL}s", "minimumUnits": 1_000_000}
    )
    return changed(manifest, "spec.variants[1].model", DRILL)


def p95(answers: list[Answer]) -> float:
    return statistics.quantiles([answer.seconds for answer in answers], n=20)[-1]


def rolled_back(trial: TrialShop, manifest: dict[str, Any], what: str) -> list[Answer]:
    """Begin it under load; it must be rolled back soon, and then nobody gets the treatment."""
    trial.stop()
    with crowd(trial, DRILL_RATE) as load:
        trial.apply(manifest)
        trial.reaches("Running", 120)
        trial.routed()
        begun = time.monotonic()
        trial.reaches("RolledBack", 20 * INTERVAL)
        decided = time.monotonic()
        time.sleep(12)
    assert load.failed == []
    met = [answer.at for answer in load.answers if variant(answer) == "treatment"]
    last = max(met) - decided
    print(f"\n{what}: decided {(decided - begun) / INTERVAL:.1f} intervals after it began (goal 2);")
    print(f"the last request with the treatment {last:+.2f} s from then (goal 10)")
    print(f"{trial.state['verdict']}: {trial.record['history'][-1]['message']}")
    assert last < 10
    trial.says_of_it("GuardrailsHealthy", status="False")
    trial.says_of_it("Completed", status="True", reason="RolledBack")
    return load.answers


def test_a_treatment_whose_calls_fail_is_rolled_back(trial: TrialShop) -> None:
    drilled(trial, errors=0.05, seconds=0.0)
    answers = rolled_back(trial, guarded(serving="errorRate", limit=1), "5 % errors")
    assert any(variant(answer) == "treatment" and served(answer) == "control" for answer in answers)


def test_a_treatment_that_is_slow_is_rolled_back(trial: TrialShop) -> None:
    trial.stop()
    with crowd(trial, DRILL_RATE) as load:
        time.sleep(10)
    slower = 0.3 * p95(load.answers)
    drilled(trial, errors=0.0, seconds=slower)
    rolled_back(trial, guarded(serving="p95Latency", limit=10), f"p95 +30 %, {slower * 1000:.0f} ms")


def test_a_store_that_is_away_holds_and_never_promotes(trial: TrialShop) -> None:
    """Metrics that nobody can read are no verdict; requests go on, and it goes on by itself when they are back."""
    manifest = experiment(analysis={"interval": "5s", "minimumUnits": 10}, onWin="promote")
    trial.begin(manifest)
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
