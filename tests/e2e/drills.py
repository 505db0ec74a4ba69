# SPDX-License-Identifier: Apache-2.0
"""Faults of a variant on real pods: a model that stands still, one whose calls fail, one that is slow."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from basket_shop import LONG, pushed
from builders import changed
from live_shop import processes_of, stood_still
from shoppers import Answer, Load
from trial_shop import SMALL, TrialShop, example, experiment, request, units, variant

from endcap_cli.packing import pack

SOME = 200
RATE = 60.0
DECISION_SECONDS = 200
MODEL = "drill-ranker"
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


@contextmanager
def down(trial: TrialShop, model: str) -> Iterator[None]:
    """Its processes stand still: whoever asks waits in vain, and the kubelet calls the pod unready."""
    (pod,) = trial.ready_pods(f"{model}-model")
    found = [each for name in ("python3.11", "python", "python3") for each in processes_of(pod, name)]
    assert found, f"no process of {model} is on this machine"
    with stood_still(found):
        yield


def faulty(trial: TrialShop, errors: float, seconds: float) -> None:
    """Deploy the ranker of the drill: this part of its calls fails, and all take so much longer."""
    with tempfile.TemporaryDirectory() as directory:
        source = Path(directory) / "source"
        source.mkdir()
        (source / "drill.py").write_text(MODULE.format(errors=errors, seconds=seconds))
        pack(source, Path(directory) / "1.tar.gz")
        artefact = pushed(f"{MODEL}/{time.time_ns()}/1.tar.gz", (Path(directory) / "1.tar.gz").read_bytes())
    manifest = example()["ModelDeployment", "basket-ranker"]
    model = manifest["spec"]["model"] | artefact | {"entryPoint": "drill:load"}
    spec = manifest["spec"] | {"framework": "python", "model": model, "resources": SMALL}
    trial.apply(manifest | {"metadata": {"name": MODEL}, "spec": spec})
    trial.says("ModelDeployment", MODEL, "Ready", LONG, status="True")


def guarded(interval: int, **guardrail: Any) -> dict[str, Any]:
    """The experiment with the ranker of the drill as its treatment, and one guardrail."""
    analysis = {"interval": f"{interval}s", "minimumUnits": 1_000_000}
    return changed(experiment(guardrails=[guardrail], analysis=analysis), "spec.variants[1].model", MODEL)


def crowd(trial: TrialShop, rate: float = 40.0) -> Load:
    return Load(trial.graph, [request(unit) for unit in units(SOME)], rate)


def p95(answers: Sequence[Answer]) -> float:
    return statistics.quantiles([answer.seconds for answer in answers], n=20)[-1]


@dataclass(frozen=True)
class RolledBack:
    """Seconds from the first request to the decision, and from it to the last request with the treatment."""

    seconds: float
    last: float
    answers: Sequence[Answer]

    @property
    def failed(self) -> list[Answer]:
        return [answer for answer in self.answers if not answer.ok]


def rolled_back(trial: TrialShop, manifest: dict[str, Any]) -> RolledBack:
    """Begin it under load and wait until the operator takes it back, and a while longer."""
    trial.stop()
    with crowd(trial, RATE) as load:
        trial.apply(manifest)
        trial.reaches("Running", 120)
        trial.routed()
        begun = time.monotonic()
        trial.reaches("RolledBack", DECISION_SECONDS)
        decided = time.monotonic()
        time.sleep(10)
    met = [answer.at for answer in load.answers if variant(answer) == "treatment"]
    return RolledBack(decided - begun, max(met) - decided, load.answers)


def slower_by(trial: TrialShop, share: float) -> float:
    """Deploy a ranker that makes the slowest twentieth of requests so much slower; seconds that it takes longer."""
    trial.stop()
    with crowd(trial, RATE) as load:
        time.sleep(10)
    seconds = share * p95(load.answers)
    faulty(trial, 0.0, seconds)
    return seconds
