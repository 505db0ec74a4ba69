# SPDX-License-Identifier: Apache-2.0
"""Who gets which variant: the same everywhere, spread evenly, independent, and moved as little as can be.

Beside it what others do: cumulative thresholds over a hash (most libraries; GrowthBook's SDK is asked), a hash with a
seed of the process (Iter8), and a cookie that is drawn anew until it sticks (Flagger). The ids are sequential numbers
where nothing else is said, the hardest for a weak hash. Seeds are fixed; ENDCAP_BENCH_UNITS (1,000,000) says over how
many units nothing may differ.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator, Mapping
from itertools import combinations, pairwise
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[2]))

import growthbook_peer
import numpy as np
from assignment_sql import answers, database
from scipy import stats
from table import head, row, zero_of

from endcap_api.assigner import Assigner, Unit
from endcap_api.assignment import BUCKETS, Ranges, allocate, bucket, covered, quotas, size
from endcap_api.experiment_config import ExperimentConfig

SEED = 20261124
UNITS = int(os.environ.get("ENDCAP_BENCH_UNITS", "1000000"))
SALTS, IDS = 200, 20_000
CASES = 2000
Owners = np.ndarray[tuple[int], np.dtype[np.int64]]
NOBODY = -1


def config(salt: str, ranges: Mapping[str, Ranges], **changes: object) -> ExperimentConfig:
    variants = [
        {"name": name, "baseline": name == "control", "buckets": [str(each) for each in owned], "weight": 1}
        for name, owned in ranges.items()
    ]
    sound = {
        "id": "0123456789ab",
        "revision": 1,
        "epoch": 1,
        "phase": "Running",
        "step": "rank",
        "mode": "split",
        "enabled": True,
        "unit": ["request.customer"],
        "salt": salt,
        "variants": variants,
    }
    return ExperimentConfig.model_validate({**sound, **changes})


def buckets(salt: str, count: int) -> Owners:
    return np.fromiter((bucket(salt, str(number)) for number in range(count)), dtype=np.int64, count=count)


def owners(ranges: Mapping[str, Ranges], names: list[str]) -> Owners:
    """For each bucket the place of its variant among the names."""
    found = np.full(BUCKETS, NOBODY, dtype=np.int64)
    for name, owned in ranges.items():
        for each in owned:
            found[each.start : each.end] = names.index(name)
    return found


def thresholds(weights: Mapping[str, int]) -> dict[str, Ranges]:
    """The peer: ranges laid out anew in order, as cumulative thresholds are."""
    return allocate(quotas(weights))


# The same everywhere.
_PROCESS = """
import sys
from endcap_api.assignment import bucket
units = range(int(sys.argv[1]))
print(b"".join(bucket("home.ranker", str(number)).to_bytes(2, "little") for number in units).hex())
print(bytes(hash(str(number)) % 2 for number in units).hex())
"""


def processes() -> None:
    """Fresh processes with other seeds of hashes, and this one; the peer's units change side."""
    (ours, theirs), (others, peers) = map(_in_a_process, ("1", "20261124"))
    here = buckets("home.ranker", UNITS)
    differing = ((ours.view("<u2") != here) | (others.view("<u2") != here)).sum()
    name = f"units that differ between processes, {UNITS:,}"
    row(name, int(differing), "≤ 0", int((theirs != peers).sum()), zero_of(UNITS))


def _in_a_process(seed: str) -> list[np.ndarray]:  # type: ignore[type-arg]
    environ = {"PYTHONHASHSEED": seed, "PATH": os.environ["PATH"]}
    command = [sys.executable, "-c", _PROCESS, str(UNITS)]
    done = subprocess.run(command, env=environ, capture_output=True, text=True, check=True)
    return [np.frombuffer(bytes.fromhex(line), dtype=np.uint8) for line in done.stdout.split()]


def sql() -> None:
    """The documented query in DuckDB, with layer, holdout, coverage and weights that have changed."""
    ranges = allocate(
        quotas({"control": 34, "a": 33, "b": 33}), allocate(quotas({"control": 50, "a": 25, "b": 25}))
    )
    partly = {name: covered(owned, 60) for name, owned in ranges.items()}
    asked = config(
        "home.ranker",
        partly,
        layer={"name": "home", "buckets": ["0-3000", "5000-9000"]},
        holdout={"name": "2026q4", "percent": 7},
    )
    units = sorted(map(str, range(UNITS)))
    assigner = Assigner(asked)
    differing = 0
    with database(units) as connection:
        for unit, (told, number, reason, variant) in zip(units, answers(connection, asked), strict=True):
            decided = assigner.decide(Unit(unit, "customer"))
            ours = (unit, decided.bucket, decided.reason, decided.variant if reason == "assigned" else None)
            differing += ours != (told, number, reason, variant)
    row(f"units that differ between the engine and SQL, {UNITS:,}", differing, "≤ 0", limits=zero_of(UNITS))


# Spread evenly.
KINDS: dict[str, Callable[[random.Random], list[str]]] = {
    "sequential": lambda _: [str(number) for number in range(IDS)],
    "zero-padded": lambda _: [f"{number:012}" for number in range(IDS)],
    "uuid4": lambda draw: [str(uuid.UUID(int=draw.getrandbits(128), version=4)) for _ in range(IDS)],
}


def uniformity() -> None:
    """p-values of chi² over 100 cells of buckets: themselves evenly spread, and none beyond belief."""
    draw = random.Random(SEED)  # noqa: S311  # the same ids in each run
    for kind, ids in KINDS.items():
        units = ids(draw)
        found = [_chi2(f"salt-{salt}", units) for salt in range(SALTS)]
        even = stats.kstest(found, "uniform").pvalue
        row(f"chi² over {SALTS} salts, {kind} ids: KS p of the p-values", even, "> 0.001")
        row("  smallest p-value", min(found), "> 1e-6")
        row("  largest p-value, below 1", 1 - max(found), "> 1e-6")


def _chi2(salt: str, units: list[str]) -> float:
    cells = np.bincount([bucket(salt, unit) // 100 for unit in units], minlength=100)
    return float(stats.chisquare(cells).pvalue)


def every_bucket(numbers: Owners) -> None:
    """Each of the 10,000 buckets, of sequential ids."""
    found = float(stats.chisquare(np.bincount(numbers, minlength=BUCKETS)).pvalue)
    row(f"chi² over all 10,000 buckets, {UNITS:,} sequential ids: p", found, "> 1e-6")
    row("  below 1", 1 - found, "> 1e-6")


def split() -> None:
    """The observed share of every variant, in standard deviations from its weight, the worst of all."""
    weights = {"control": 50, "a": 30, "b": 15, "c": 4, "d": 1}
    ranges = allocate(quotas(weights))
    assigner = Assigner(config("home.split", ranges))
    seen = dict.fromkeys(weights, 0)
    for number in range(UNITS):
        seen[assigner.decide(Unit(str(number), "customer")).variant] += 1
    worst = 0.0
    for name, owned in ranges.items():
        share = size(owned) / BUCKETS
        worst = max(worst, abs(seen[name] - UNITS * share) / (UNITS * share * (1 - share)) ** 0.5)
    row(f"split 50/30/15/4/1 of {UNITS:,} units: worst deviation, σ", worst, "≤ 3.3")


def cookies() -> None:
    """Who is in a canary of 10 % after ten requests: the same tenth, or everyone whose draws hit once."""
    draw = np.random.default_rng(SEED)
    stuck = (draw.random((100_000, 10)) < 0.1).any(axis=1).mean() * 100
    treated = allocate(quotas({"control": 90, "treatment": 10}))
    found = owners(treated, list(treated))[buckets("home.canary", 100_000)].mean() * 100
    row("canary of 10 %: % of units in it after ten requests", found, "≤ 10.4", stuck, "± 0.3 (3.3 σ)")


# Moved as little as can be.
def ramp(numbers: Owners) -> None:
    ranges = allocate(
        quotas({"control": 34, "a": 33, "b": 33}), allocate(quotas({"control": 50, "a": 25, "b": 25}))
    )
    names, leavers, switches = list(ranges), 0, 0
    for low, high in pairwise([1, 2, 5, 10, 25, 50, 75, 99, 100]):
        before, after = (
            owners({name: covered(owned, percent) for name, owned in ranges.items()}, names)[numbers]
            for percent in (low, high)
        )
        leavers += int(((before != NOBODY) & (after == NOBODY)).sum())
        switches += int(((before != NOBODY) & (after != NOBODY) & (before != after)).sum())
    row(f"ramp from 1 to 100 %: units that switch, of {UNITS:,}", switches, "≤ 0", limits=zero_of(UNITS))
    row("ramp from 1 to 100 %: units that leave", leavers, "≤ 0", limits=zero_of(UNITS))


def canary(numbers: Owners) -> None:
    """A canary by weight: nobody leaves it while it grows, and nobody enters but the difference."""
    steps = [{"control": 100 - percent, "treatment": percent} for percent in (1, 5, 10, 25, 50, 100)]
    ranges, flips, excess = allocate(quotas(steps[0])), 0, 0
    for weights in steps[1:]:
        then, ranges = ranges, allocate(quotas(weights), ranges)
        before, after = (owners(each, ["control", "treatment"]) for each in (then, ranges))
        flips += int(((before == 1) & (after == 0))[numbers].sum())
        excess += int((before != after).sum()) - least(then, ranges)
    row(
        f"canary by weight from 1 to 100 %: units that flip back, of {UNITS:,}",
        flips,
        "≤ 0",
        limits=zero_of(UNITS),
    )
    row("canary by weight: buckets moved beyond ½Σ|Δ|", excess, "≤ 0")


def least(before: Mapping[str, Ranges], after: Mapping[str, Ranges]) -> int:
    names = before.keys() | after.keys()
    return sum(abs(size(after.get(name, ())) - size(before.get(name, ()))) for name in names) // 2


def moved(before: Mapping[str, Ranges], after: Mapping[str, Ranges]) -> int:
    names = sorted(before.keys() | after.keys())
    return int((owners(before, names) != owners(after, names)).sum())


def chains() -> Iterator[tuple[Mapping[str, int], Mapping[str, int], Mapping[str, Ranges]]]:
    """Weights before and after with the ranges before, of 2 to 6 variants that come and go, in chains of ten."""
    draw = random.Random(SEED)  # noqa: S311  # the same cases in each run
    for case in range(CASES):
        if case % 10 == 0:
            weights = _weights(draw)
            ranges = allocate(quotas(weights))
        after = _weights(draw) if case % 2 else _shifted(draw, weights)
        yield weights, after, ranges
        weights, ranges = after, allocate(quotas(after), ranges)


def _weights(draw: random.Random) -> dict[str, int]:
    names = ["control", *draw.sample("abcde", draw.randint(1, 5))]
    weights = {name: draw.choice((0, 1, draw.randint(0, 10_000))) for name in names}
    return {**weights, "control": weights["control"] + 1}


def _shifted(draw: random.Random, weights: Mapping[str, int]) -> dict[str, int]:
    """A tenth of everything from one variant to another, as a person steers."""
    one, two = draw.sample(sorted(weights), 2)
    step = min(max(sum(weights.values()) // 10, 1), weights[one])
    return {**weights, one: weights[one] - step, two: weights[two] + step}


def changes() -> None:
    excess, ours, theirs = 0, 0, 0
    for case, (weights, after, ranges) in enumerate(chains()):
        found = moved(ranges, allocate(quotas(after), ranges))
        excess += abs(found - least(ranges, thresholds(after)))
        if case % 2 == 0:
            ours += found
            theirs += moved(thresholds(weights), thresholds(after))
    row(f"{CASES:,} random changes of weights: buckets beyond ½Σ|Δ|", excess, "≤ 0")
    share, peer = ours / CASES / 50, theirs / CASES / 50
    row("  % moved by those of a tenth from one variant to another", share, f"≤ {peer}", peer)
    before, after = {"control": 50, "a": 25, "b": 25}, {"control": 34, "a": 33, "b": 33}
    found = moved(allocate(quotas(before)), allocate(quotas(after), allocate(quotas(before)))) / 100
    row("50/25/25 to 34/33/33: % moved", found, "≤ 16", moved(thresholds(before), thresholds(after)) / 100)
    row(
        "  beside GrowthBook's SDK, 50,000 units",
        found,
        "≤ 16",
        growthbook_peer.measured()["moved"],
        "± 0.6 (3.3 σ)",
    )


# Independent.
def independence() -> None:
    """Twenty experiments on the same sequential ids: no pair knows of another. The peer has no salt."""
    count = 100_000
    sides = [buckets(f"home.step.experiment-{number}", count) < BUCKETS // 2 for number in range(20)]
    found = [_association(one, two) for one, two in combinations(sides, 2)]
    row(
        "20 experiments, 190 pairs: smallest p of independence",
        min(found),
        f"> {0.001 / 190}",
        _association(sides[0], sides[0]),
    )
    row("  KS p of the p-values", float(stats.kstest(found, "uniform").pvalue), "> 0.001")


def _association(one: np.ndarray, two: np.ndarray) -> float:  # type: ignore[type-arg]
    table = np.histogram2d(one, two, bins=2)[0]
    return float(stats.chi2_contingency(table + (table == 0), correction=False).pvalue)


def layers(numbers: Owners) -> None:
    """Two experiments of one layer under one holdout, through the engine's order of decisions."""
    halves = allocate(quotas({"control": 50, "treatment": 50}))
    holdout = {"name": "2026q4", "percent": 5}
    first, second = (
        Assigner(config(salt, halves, layer={"name": "home", "buckets": own}, holdout=holdout))
        for salt, own in (("home.a", ["0-3000", "7000-8000"]), ("home.b", ["3000-7000"]))
    )
    both = held = shared = 0
    table = np.zeros((2, 2))
    for number in range(len(numbers)):
        unit = Unit(str(number), "customer")
        one, two = first.decide(unit), second.decide(unit)
        both += one.reason == two.reason == "assigned"
        held += (one.reason == "held_out") != (two.reason == "held_out")
        shared += "assigned" in (one.reason, two.reason)
        if bucket("holdout/2026q4", unit.text) < 500:
            held += one.reason != "held_out"
        elif one.bucket is not None:
            table[int(one.reason == "assigned"), int(one.bucket < BUCKETS // 2)] += 1
    row(f"units in two experiments of a layer, of {UNITS:,}", both, "≤ 0", limits=zero_of(UNITS))
    row("units of the holdout in an experiment, or out for one alone", held, "≤ 0", limits=zero_of(UNITS))
    row("layer and variant are independent: p", float(stats.chi2_contingency(table).pvalue), "> 0.001")
    share = shared / UNITS * 100
    row(
        "% of units in one of the two (76 of 100), σ off",
        abs(share - 76) / (76 * 24 / UNITS) ** 0.5,
        "≤ 3.3",
    )


def main() -> None:
    print(f"seed {SEED}, {UNITS:,} units")
    head("the same everywhere", "hash()")
    processes()
    sql()
    head("spread evenly", "cookie")
    numbers = buckets("home.ranker", UNITS)
    uniformity()
    every_bucket(numbers)
    split()
    cookies()
    head("moved as little as can be", "thresholds")
    ramp(numbers)
    canary(numbers)
    changes()
    head("independent of each other", "no salt")
    independence()
    layers(numbers)


if __name__ == "__main__":
    main()
