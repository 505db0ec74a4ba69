# SPDX-License-Identifier: Apache-2.0
"""What a decision costs: the function alone, each call timed, in rounds; the engine's own bench times whole requests.

The peer is GrowthBook's SDK, at its best: one client for all requests, and an experiment of two variants alone.

CPU time of the thread, so that what else runs on the machine is not counted as ours.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from time import thread_time_ns

sys.path.append(str(Path(__file__).resolve().parents[2]))

import numpy as np
from bench_assignment import config
from growthbook_peer import measured as peer
from table import head, row

from endcap_api.assigner import Assigner, unit_of
from endcap_api.assignment import allocate, bucket, quotas

ROUNDS, CALLS = 7, 50_000
GOAL = "< 20"
HALVES = allocate(quotas({"control": 50, "treatment": 50}))
EVERYTHING = {
    "layer": {"name": "home", "buckets": ["0-10000"]},
    "holdout": {"name": "2026q4", "percent": 1},
    "overrides": {f"listed-{number}": "treatment" for number in range(256)},
}
Measured = Callable[[str], object]


def decisions() -> dict[str, Measured]:
    plain, whole = (
        Assigner(config("home.ranker", HALVES)),
        Assigner(config("home.ranker", HALVES, **EVERYTHING)),
    )
    fields = ("request.customer", "request.session")
    many = [Assigner(config(f"home.step.{number}", HALVES, **EVERYTHING)) for number in range(20)]

    def decided(assigner: Assigner, text: str) -> object:
        return assigner.decide(unit_of(fields, {"customer": None, "session": text}))

    return {
        "a bucket": lambda text: bucket("home.ranker", text),
        "an experiment": lambda text: decided(plain, text),
        "with layer, holdout and 256 overrides": lambda text: decided(whole, text),
        "twenty of those in a request, each": lambda text: [decided(each, text) for each in many],
    }


def round_of(measured: Measured, calls: int) -> tuple[float, float]:
    """p50 and p99 in µs, over units that are all different."""
    taken = np.empty(calls)
    for number in range(calls):
        text = f"customer-{number}"
        began = thread_time_ns()
        measured(text)
        taken[number] = thread_time_ns() - began
    p50, p99 = np.percentile(taken, [50, 99]) / 1000
    return float(p50), float(p99)


def main() -> None:
    head(f"p99 of a decision in µs, {ROUNDS} rounds of {CALLS:,}", "GrowthBook")
    for name, measured in decisions().items():
        share = 20 if name.startswith("twenty") else 1
        rounds = np.array([round_of(measured, CALLS // share) for _ in range(ROUNDS)]) / share
        p50, p99 = np.median(rounds, axis=0)
        spread = f"p50 {p50:.2f}; p99 of the rounds {rounds[:, 1].min():.2f} to {rounds[:, 1].max():.2f}"
        row(name, float(p99), GOAL, peer()["p99"] if name == "an experiment" else None, spread)


if __name__ == "__main__":
    main()
