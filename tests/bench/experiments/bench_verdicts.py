# SPDX-License-Identifier: Apache-2.0
"""Verdicts that one can trust, on simulated shoppers, through the very look that the operator takes.

Beside it what is usual: a t-test and a chi-squared test at every look. Seeds are fixed; limits are 95 % (Clopper and
Pearson). ENDCAP_BENCH_RUNS (1,000) says how many experiments without a difference are looked at 100 times each.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import inf, nan
from pathlib import Path
from time import thread_time

sys.path.append(str(Path(__file__).resolve().parents[2]))

import numpy as np
from drawn_shoppers import Arms, Run, Shop, run
from measured_experiments import ID, METRIC, NOW, counted, even_epochs, experiment, histogram, page, weighed
from scipy import stats
from table import head, row

from endcap_api.experiment_config import ExperimentSums, VariantServing
from endcap_api.v1alpha1.experiment import ExperimentSpec
from endcap_operator.analysis.lift import compare
from endcap_operator.analysis.look import Epoch, Look
from endcap_operator.analysis.looking import Seen, look_at
from endcap_operator.analysis.sample_ratio import Counted, sample_ratio
from endcap_operator.plan.experiment.course import Facts, advance
from endcap_operator.plan.experiment.record import Pin

SEED = 20261124
RUNS = int(os.environ.get("ENDCAP_BENCH_RUNS", "1000"))
LOOKS = np.arange(1, 101)
PER_LOOK = 200
SPEC = experiment()
EVEN = {"control": 5000, "treatment": 5000}
Units = np.ndarray[tuple[int], np.dtype[np.int64]]


def limits(found: int, of: int) -> str:
    interval = stats.binomtest(found, of).proportion_ci(method="exact")
    return f"{found:,} of {of:,}: {interval.low:.4f} to {interval.high:.4f}"


def looked(spec: ExperimentSpec, epochs: Mapping[str, Epoch], arms: Arms) -> Look:
    return look_at(spec, epochs, Seen(counted(**arms)), NOW)


def decided(look: Look) -> str:
    return look.verdict.kind if look.verdict else ""


# Nothing is better, and 100 looks are taken.
def split_of(shop: Shop) -> tuple[ExperimentSpec, dict[str, Epoch]]:
    treated = round(shop.share * 10_000)
    spec = experiment(variants=weighed(control=10_000 - treated, treatment=treated))
    return spec, even_epochs(control=10_000 - treated, treatment=treated)


def false_wins(shop: Shop) -> None:
    rng, found = np.random.default_rng([SEED, 1]), {"Better": 0, "Worse": 0, "Invalid": 0, "naive": 0}
    spec, epochs = split_of(shop)
    for _ in range(RUNS):
        drawn = run(shop, rng, LOOKS * PER_LOOK)
        kinds = {decided(looked(spec, epochs, arms)) for arms in drawn.arms()}
        for kind in kinds & found.keys():
            found[kind] += 1
        found["naive"] += bool(drawn.naive().any())
    row(f"{shop.name}: wins", found["Better"] / RUNS, "≤ 0.05", limits=limits(found["Better"], RUNS))
    either = found["Better"] + found["Worse"]
    row(f"{shop.name}: wins or losses", either / RUNS, "≤ 0.05", found["naive"] / RUNS, limits(either, RUNS))
    row(
        f"{shop.name}: found invalid",
        found["Invalid"] / RUNS,
        "≤ 0.001",
        limits=limits(found["Invalid"], RUNS),
    )


# Something is.
def coverage(shop: Shop, runs: int) -> None:
    """Whether the truth leaves the sequence at any of 100 looks: as a difference and as a part of the baseline."""
    rng, left = np.random.default_rng([SEED, 2]), {"difference": 0, "part": 0}
    mean = shop.converts * np.exp(shop.spends**2 / 2)
    won: list[int] = []
    for _ in range(runs):
        bands = list(_bands(run(shop, rng, LOOKS * PER_LOOK)))
        left["difference"] += any(not b.lower <= mean * shop.lift <= b.upper for _, b in bands)
        left["part"] += any(
            b.relative_lower is not None and not b.relative_lower <= shop.lift <= b.relative_upper
            for _, b in bands
        )
        won.extend(next(([units] for units, b in bands if b.above), []))
    for name, count in left.items():
        row(
            f"{shop.name}: true {name} outside at any look",
            count / runs,
            "≤ 0.05",
            limits=limits(count, runs),
        )
    row(
        f"{shop.name}: found within {LOOKS[-1] * PER_LOOK:,} units",
        len(won) / runs,
        "≥ 0.8",
        limits=f"median {np.median(won):,.0f} units",
    )


def _bands(drawn: Run) -> Iterator[tuple[int, object]]:
    for arms in drawn.arms():
        look = looked(SPEC, even_epochs(), arms)
        if METRIC in look.variants["treatment"].lifts:
            yield look.units, look.variants["treatment"].lifts[METRIC]


def covariate(known: float) -> None:
    """CUPED takes away the square of the correlation, and nothing of the effect."""
    rng, shop = np.random.default_rng([SEED, 3]), Shop("", converts=0.3, spends=0.5, lift=0.1, known=known)
    pairs = []
    for _ in range(1500):
        (arms,) = run(shop, rng, np.array([4000])).arms()
        bare = {
            n: a.model_copy(
                update={
                    "metrics": {METRIC: a.metrics[METRIC].model_copy(update={"x": 0.0, "xx": 0.0, "xy": 0.0})}
                }
            )
            for n, a in arms.items()
        }
        pairs.append([compare([(a["control"], a["treatment"])], METRIC, ratio=False) for a in (arms, bare)])
    taken = 1 - np.mean([w.variance / b.variance for w, b in pairs if w and b])
    spread = 1 - np.var([w.difference for w, _ in pairs if w]) / np.var([b.difference for _, b in pairs if b])
    row(f"correlation {known}: variance taken away, of {known**2:.2f}", float(taken) / known**2, "≥ 0.95")
    row("  the same, as estimates really scatter over 1,500 runs", float(spread) / known**2, "≥ 0.8")


# Units are lost.
def lost(share: float, runs: int, epochs: int = 1) -> tuple[int, int]:
    """Runs that were flagged within 90,000 units, by the sequential test and by chi-squared at p < 0.01."""
    rng = np.random.default_rng([SEED, 4, round(share * 1000), epochs, runs])
    step = np.full(100, 900)
    at, ours, usual = np.cumsum(step), 0, 0
    for _ in range(runs):
        treated = np.cumsum(rng.binomial(step, share))
        z = (treated - at / 2) / np.sqrt(at / 4)
        usual += bool((stats.chi2.sf(z**2, 1) < 0.01).any())
        ours += any(sample_ratio(told).state == "mismatch" for told in _told(at, treated, epochs))
    return ours, usual


def _told(at: Units, treated: Units, epochs: int) -> Iterator[list[Counted]]:
    """What is counted at each look, in so many epochs of the same weights, one after the other."""
    ends = [len(at) * (e + 1) // epochs - 1 for e in range(epochs)]
    for look in range(len(at)):
        edges = [-1, *(end for end in ends if end < look), look]
        parts = [(_between(at, a, b), _between(treated, a, b)) for a, b in pairwise(edges)]
        yield [({"control": n - t, "treatment": t}, [EVEN]) for n, t in parts]


def _between(counts: Units, first: int, last: int) -> int:
    return int(counts[last]) - (int(counts[first]) if first >= 0 else 0)


def sample_ratios() -> None:
    for epochs, goal in ((1, "≥ 0.95"), (2, "≥ 0.9")):
        found, usual = lost(0.48 / 0.98, 500, epochs)
        name = f"4 % of treatment lost, {epochs} epochs: flagged before 90,000"
        row(name, found / 500, goal, usual / 500, limits(found, 500))
    for runs, goal in ((200, "≤ 0"), (2000, "≤ 0.002")):
        alarms, usual = lost(0.5, runs)
        row(f"nothing lost: alarms in {runs:,} runs", alarms / runs, goal, usual / runs, limits(alarms, runs))


# A variant breaks while it serves.
GUARDED = experiment(
    guardrails=[
        {"serving": "errorRate", "limit": 1},
        {"serving": "p95Latency", "limit": 10},
        {"serving": "degradedRate", "limit": 1},
    ],
    store=None,
    metrics=None,
    primary=None,
)


@dataclass(frozen=True)
class Minute:
    """Requests of both arms, so many a second each; the fault begins at `since`, between two looks."""

    rng: np.random.Generator
    rate: float
    errors: float = 0.002
    slower: float = 1.0

    def at(self, hurt: float, before: Look | None) -> Look:
        """A look back on a minute of which the last part `hurt` was broken."""
        arms = {"control": self.arm(0.0), "treatment": self.arm(hurt)}
        return look_at(GUARDED, even_epochs(), Seen(None, [page(**arms)], before), NOW)

    def arm(self, hurt: float) -> VariantServing:
        count = int(self.rng.poisson(self.rate * 60))
        broken = self.rng.random(count) < hurt
        errors = self.rng.random(count) < np.where(broken, self.errors, 0.002)
        degraded = self.rng.random(count) < 0.005
        took = self.rng.lognormal(2.7, 0.35, count) * np.where(broken, self.slower, 1.0)
        return VariantServing(
            requests=count,
            errors=int(errors.sum()),
            degraded=int(degraded.sum()),
            latency=histogram(took),
        )


def rolled_back(minute: Minute, hurt: Sequence[float]) -> bool:
    """Whether one of these looks finds a fault."""
    look: Look | None = None
    for part in hurt:
        look = minute.at(part, look)
        if look.breached:
            return True
    return False


def since(rng: np.random.Generator, intervals: int) -> list[float]:
    """The parts of the minutes of the first looks after a fault that begins anywhere between two looks."""
    late = rng.uniform(0, 30)
    return [min(1.0, (30 * k - late) / 60) for k in range(1, intervals + 1)]


def rollbacks() -> None:
    for rate, intervals in ((50.0, 2), (10.0, 5)):
        for name, fault in (("5 % errors", {"errors": 0.05}), ("p95 + 30 %", {"slower": 1.3})):
            rng = np.random.default_rng([SEED, 5, int(rate)])
            found = sum(rolled_back(Minute(rng, rate, **fault), since(rng, intervals)) for _ in range(500))
            said = f"{name} at {rate:.0f}/s: rolled back within {intervals} intervals"
            row(said, found / 500, "≥ 0.95", limits=limits(found, 500))
    rng = np.random.default_rng([SEED, 6])
    alarms = sum(rolled_back(Minute(rng, 10.0), [0.0] * 60) for _ in range(200))
    row("nothing broken: rolled back in 200 runs of 60 looks", alarms, "≤ 0", limits=limits(alarms, 200))
    at_limit()


def at_limit() -> None:
    """A variant that fails just as often more as its limit allows; each other look is of another minute."""
    rng, looks, before, ours, usual = np.random.default_rng([SEED, 8]), 20_000, None, 0, 0
    spec = experiment(
        guardrails=[{"serving": "degradedRate", "limit": 1}], store=None, metrics=None, primary=None
    )
    halves = [rng.binomial(1500, (0.05, 0.06)) for _ in range(looks + 1)]
    for one, other in pairwise(halves):
        bad = one + other
        arms = {n: VariantServing(requests=3000, degraded=int(b)) for n, b in zip(EVEN, bad, strict=True)}
        before = look_at(spec, even_epochs(), Seen(None, [page(**arms)], before), NOW)
        usual += bool(before.suspects("degradedRate"))
        ours += before.breached is not None
    row(
        "just within the limit: alarms in a week of looks",
        ours,
        "≤ 4",
        usual,
        f"{looks:,} looks, z > 3 alone as peer",
    )


# Figures are away, and the course goes on.
def drills() -> None:
    """A treatment that sells twice as much, and nobody can tell."""
    spec = experiment(onWin="promote")
    ways: dict[str, Callable[[ExperimentSums], ExperimentSums | None]] = {
        "no answer": lambda _: None,
        "NaN": lambda told: _spoilt(told, nan),
        "infinite": lambda told: _spoilt(told, inf),
        "an hour old": lambda told: told.model_copy(update={"at_ms": NOW - 3_600_000}),
        "of another experiment": lambda told: told.model_copy(update={"id": "another"}),
    }
    promoted = sum(_promoted(spec, way, seed) for way in ways.values() for seed in range(20))
    row("figures away, NaN or old, 100 drills: promotions", promoted, "≤ 0", limits=limits(promoted, 100))
    found = sum(_promoted(spec, lambda told: told, seed) for seed in range(20))
    row("the same with figures, 20 drills: promotions", found, "≥ 20")


def _spoilt(told: ExperimentSums, value: float) -> ExperimentSums:
    arms = told.epochs["1"]
    sums = arms["treatment"].metrics[METRIC].model_copy(update={"yy": value})
    return counted(**{**arms, "treatment": arms["treatment"].model_copy(update={"metrics": {METRIC: sums}})})


def _promoted(
    spec: ExperimentSpec, way: Callable[[ExperimentSums], ExperimentSums | None], seed: int
) -> bool:
    pin = Pin(model="basket-ranker-v2", label="basket-ranker-v2@2", sha256="2" * 64)
    facts = Facts("ranker-v2", ID, pins={"treatment": pin}, synced=True)
    record = advance(spec, None, facts, None, NOW).record
    for arms in run(Shop("", lift=1.0), np.random.default_rng([SEED, 7, seed]), LOOKS[:30] * PER_LOOK).arms():
        look = look_at(spec, record.epochs, Seen(way(counted(**arms))).of(ID), NOW)
        record = advance(spec, record, facts, look, NOW).record
    return record.phase == "Promoting"


def cost() -> None:
    """Of one look: four metrics, two arms, three epochs, three pods."""
    names = [METRIC, "b", "c", "d"]
    spec = experiment(
        metrics=[{"name": n, "event": "e", "unit": "customer"} for n in names],
        guardrails=[{"serving": "p95Latency", "limit": 5}],
    )
    (arms,) = run(Shop("", spends=1.0), np.random.default_rng(SEED), np.array([4000])).arms()
    wide = {
        v: a.model_copy(update={"metrics": dict.fromkeys(names, a.metrics[METRIC])}) for v, a in arms.items()
    }
    epochs = {n: even_epochs()["1"] for n in "123"}
    seen = Seen(
        counted(dict.fromkeys("123", wide)),
        [page(**{v: Minute(np.random.default_rng(1), 10.0).arm(0.0) for v in wide})] * 3,
    )
    spent = thread_time()
    for _ in range(200):
        look_at(spec, epochs, seen, NOW)
    row("ms of CPU a look: 4 metrics, 3 epochs, 3 pods", (thread_time() - spent) / 200 * 1000, "< 10")


SHOPS: Sequence[Shop] = (
    Shop("bought or not, 5 %"),
    Shop("spent, lognormal σ 1.5", converts=0.2, spends=1.5),
    Shop("spent, canary of 1 %", share=0.01, converts=0.2, spends=1.5),
)


def main() -> None:
    print(f"seed {SEED}, {RUNS:,} runs of 100 looks, {PER_LOOK} units a look")
    head("no difference, 100 looks (α 0.05)", "t-test")
    for shop in SHOPS:
        false_wins(shop)
    head("a difference")
    coverage(Shop("+ 20 % of 20 %", converts=0.2, lift=0.2), 300)
    for known in (0.5, 0.8):
        covariate(known)
    head("sample ratio", "chi²")
    sample_ratios()
    head("a variant that breaks while it serves")
    rollbacks()
    drills()
    cost()


if __name__ == "__main__":
    main()
