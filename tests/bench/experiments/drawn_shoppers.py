# SPDX-License-Identifier: Apache-2.0
"""Simulated shoppers: units that come one by one, each with its arm, its outcome and what was known of it before."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from measured_experiments import METRIC, Floats
from scipy import stats

from endcap_api.experiment_config import Sums, VariantSums

Arms = dict[str, VariantSums]


@dataclass(frozen=True)
class Shop:
    """share: of the treatment. converts: of the units that have an outcome at all, with `spends` of lognormal sigma
    (0: each is 1). lift: of the treatment, as a part. known: correlation of the covariate with the outcome.
    """

    name: str
    share: float = 0.5
    converts: float = 0.05
    spends: float = 0.0
    lift: float = 0.0
    known: float = 0.0

    def units(self, rng: np.random.Generator, count: int) -> tuple[np.ndarray, Floats, Floats]:  # type: ignore[type-arg]
        """Whether each is treated, its outcome, its covariate."""
        treated = rng.random(count) < self.share
        bought = rng.random(count) < self.converts * np.where(treated, 1 + self.lift, 1.0)
        y = bought * (rng.lognormal(0, self.spends, count) if self.spends else 1.0)
        noise = rng.normal(0, 1, count)
        x = (
            self.known * (y - y.mean()) / y.std() + np.sqrt(1 - self.known**2) * noise
            if self.known
            else y * 0
        )
        return treated, y, x


_FIELDS = ("y", "yy", "x", "xx", "xy")


@dataclass(frozen=True)
class Run:
    """What is counted at each look: units, and sums by field, of both arms."""

    counts: dict[str, np.ndarray]  # type: ignore[type-arg]
    sums: dict[str, dict[str, Floats]]

    def arms(self) -> Iterator[Arms]:
        for at in range(len(self.counts["control"])):
            yield {name: self._arm(name, at) for name in self.counts}

    def _arm(self, name: str, at: int) -> VariantSums:
        sums = Sums(**{f: float(self.sums[name][f][at]) for f in _FIELDS})
        return VariantSums(units=int(self.counts[name][at]), metrics={METRIC: sums})

    def naive(self, level: float = 0.05) -> np.ndarray:  # type: ignore[type-arg]
        """What a t-test says at each look: whether its p is below the level, and the treatment above."""
        n, m = self.counts["control"], self.counts["treatment"]
        a, b = (self.sums[name] for name in ("control", "treatment"))
        with np.errstate(divide="ignore", invalid="ignore"):
            spread = _variance(a, n) / n + _variance(b, m) / m
            z = np.where(spread > 0, (b["y"] / m - a["y"] / n) / np.sqrt(spread), 0.0)
        return np.asarray(np.abs(z) > stats.norm.ppf(1 - level / 2))


def _variance(sums: dict[str, Floats], n: np.ndarray) -> Floats:  # type: ignore[type-arg]
    return np.asarray(np.maximum(0.0, sums["yy"] - sums["y"] ** 2 / np.maximum(1, n)) / np.maximum(1, n - 1))


def run(shop: Shop, rng: np.random.Generator, looks: np.ndarray) -> Run:  # type: ignore[type-arg]
    treated, y, x = shop.units(rng, int(looks[-1]))
    values = {"y": y, "yy": y * y, "x": x, "xx": x * x, "xy": x * y}
    arms = {"control": ~treated, "treatment": treated}
    at = looks - 1
    return Run(
        {name: np.cumsum(who)[at] for name, who in arms.items()},
        {name: {f: np.cumsum(v * who)[at] for f, v in values.items()} for name, who in arms.items()},
    )
