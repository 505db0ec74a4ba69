# SPDX-License-Identifier: Apache-2.0
"""Experiments on real pods, in the cluster that `make demo` leaves: how soon a change is everywhere, what faults cost.

Three graph replicas under load all the time; a unit that is told another variant than the library says is reassigned.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1]))
sys.path.append(str(Path(__file__).resolve().parents[1] / "cluster"))
sys.path.append(str(Path(__file__).resolve().parents[1] / "e2e"))

from basket_shop import kubeconfig
from bench_cluster import Figure, p95, timed
from builders import changed
from drills import SOME, RolledBack, crowd, down, faulty, guarded, rolled_back, slower_by
from endcap_cluster.errors import ClusterError
from kube import Client, eventually
from shoppers import Answer
from trial_shop import (
    EXAMPLE,
    GRAPH,
    REPLICAS,
    TrialShop,
    expected,
    experiment,
    ranges,
    served,
    units,
    variant,
    weighted,
)

from endcap_api.assignment import Ranges, parse_ranges, size

CHANGES, ABORTS, KILLS = 20, 3, 5
RATE = 40.0
# Enough requests of each variant in one of them for a rate of 5 % to be beyond chance.
INTERVAL = 10
WEIGHTS = ((30, 70), (60, 40), (34, 33), (10, 90), (50, 50))


def wrong(answers: Sequence[Answer], right: dict[str, str | None]) -> int:
    return sum(answer.ok and variant(answer) != right[answer.request["customer"]] for answer in answers)


def newer(trial: TrialShop, revision: int) -> bool:
    return all((found or 0) > revision for found in trial.revisions_of_it())


def kept(trial: TrialShop) -> dict[str, Ranges]:
    return {name: parse_ranges(texts) for name, texts in trial.record["ranges"].items()}


def buckets(owned: Ranges) -> set[int]:
    return {number for each in owned for number in range(each.start, each.end)}


def beyond(before: dict[str, Ranges], after: dict[str, Ranges]) -> float:
    """Buckets that moved more than they had to."""
    moved = sum(len(buckets(after[name]) - buckets(before[name])) for name in after)
    return moved - sum(abs(size(after[name]) - size(before[name])) for name in after) / 2


def changes(trial: TrialShop) -> Iterator[Figure]:
    trial.begin(weighted(50, 50))
    taken, excess, reassigned = [], 0.0, 0
    with crowd(trial, RATE) as load:
        for number in range(CHANGES):
            manifest = weighted(*WEIGHTS[number % len(WEIGHTS)])
            before, revision = kept(trial), trial.record["revision"]
            taken.append(
                timed(
                    lambda manifest=manifest: trial.apply(manifest),
                    lambda revision=revision: newer(trial, revision),
                    "new weights are served by every replica",
                )
            )
            excess += beyond(before, kept(trial))
            begun = time.monotonic()
            time.sleep(1)
            right = expected(manifest, ranges(manifest, before), units(SOME))
            reassigned += wrong(load.since(begun), right)
    yield Figure(f"new weights are served by every replica (p95 of {CHANGES})", p95(taken), "s", 2)
    yield Figure("  buckets moved beyond half of all changes", excess, "", 0)
    yield Figure("  answers with another variant than the library says", reassigned, "", 0)
    yield Figure(f"  failed requests of {len(load.answers)}", len(load.failed), "", 0)
    yield Figure("  restarts", trial.restarts(f"{GRAPH}-graph"), "", 0)


def aborted(trial: TrialShop) -> Iterator[Figure]:
    taken, failed, met = [], 0, 0
    for _ in range(ABORTS):
        trial.begin(experiment())
        with crowd(trial, RATE) as load:
            time.sleep(1)
            taken.append(
                timed(
                    lambda: trial.apply(changed(experiment(), "spec.decision", {"abort": "a drill"})),
                    lambda: trial.revisions_of_it() == [None] * REPLICAS,
                    "nobody has the treatment",
                )
            )
            begun = time.monotonic()
            time.sleep(1)
        failed += len(load.failed)
        met += sum(variant(answer) == "treatment" for answer in load.since(begun))
    yield Figure(f"aborted: no replica serves the treatment (p95 of {ABORTS})", p95(taken), "s", 2)
    yield Figure("  treatment requests after that", met, "", 0)
    yield Figure("  failed requests", failed, "", 0)


def killed(trial: TrialShop) -> Iterator[Figure]:
    """The operator is killed right after each change, before or while it decides."""
    manifest = weighted(50, 50)
    trial.begin(manifest)
    reassigned = 0
    with crowd(trial, RATE) as load:
        for number in range(KILLS):
            manifest = weighted(*WEIGHTS[number % len(WEIGHTS)])
            before, revision = kept(trial), trial.record["revision"]
            trial.apply(manifest)
            time.sleep(0.1 * number)
            trial.kill_operator()
            trial.operator_is_back()
            eventually(lambda revision=revision: newer(trial, revision), "served by every replica", 120)
            begun = time.monotonic()
            time.sleep(2)
            right = expected(manifest, ranges(manifest, before), units(SOME))
            reassigned += wrong(load.since(begun), right)
    yield Figure(f"operator killed at {KILLS} transitions: reassignments", reassigned, "", 0)
    yield Figure(f"  failed requests of {len(load.answers)}", len(load.failed), "", 0)


def without_treatment(trial: TrialShop) -> Iterator[Figure]:
    trial.begin(experiment())
    with crowd(trial, RATE) as load, down(trial, "basket-ranker"):
        time.sleep(1)
        begun = time.monotonic()
        time.sleep(SOME / RATE)
        during = load.since(begun)
    met = [answer for answer in during if variant(answer) == "treatment"]
    yield Figure(f"treatment down: failed requests of {len(load.answers)}", len(load.failed), "", 0)
    yield Figure(
        f"  of {len(met)} of the treatment, not served by the control",
        sum(served(a) != "control" for a in met),
        "",
        0,
    )
    yield Figure("  their p95", p95([answer.seconds for answer in met]) * 1000, "ms")


def drills(trial: TrialShop) -> Iterator[Figure]:
    faulty(trial, 0.05, 0.0)
    yield from drilled("5 % errors", rolled_back(trial, guarded(INTERVAL, serving="errorRate", limit=1)))
    slower = slower_by(trial, 0.3)
    found = rolled_back(trial, guarded(INTERVAL, serving="p95Latency", limit=10))
    yield from drilled(f"p95 +30 % ({slower * 1000:.0f} ms)", found)


def drilled(what: str, found: RolledBack) -> Iterator[Figure]:
    yield Figure(f"{what}: rolled back after intervals of {INTERVAL} s", found.seconds / INTERVAL, "", 2)
    yield Figure("  the last request with the treatment, after the decision", max(found.last, 0.0), "s", 10)
    yield Figure(f"  failed requests of {len(found.answers)}", len(found.failed), "", 0)


def real_pods() -> Iterator[Figure]:
    client = Client(kubeconfig())
    trial = TrialShop(client, "bench-trial")
    trial.open()
    try:
        trial.open_whole()
        for part in (changes, aborted, killed, without_treatment, drills):
            yield from part(trial)
    finally:
        client.send("DELETE", "api/v1/namespaces/bench-trial")
        client.close()


def main() -> int:
    if not kubeconfig().exists() or not (EXAMPLE / "store").exists():
        print("Not measured. Run `make demo` first: it leaves the cluster that this needs.")
        return 1
    print(f"\nExperiments on real pods: {REPLICAS} graph replicas, {RATE:g} requests/s all the time")
    for figure in real_pods():
        figure.show()
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except ClusterError as error:
        sys.exit(str(error))
