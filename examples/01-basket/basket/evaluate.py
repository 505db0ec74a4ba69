# SPDX-License-Identifier: Apache-2.0
"""How good each way to recommend is at finding the item that was hidden, with its uncertainty.

Confidence intervals resample households, not baskets: baskets of a household are alike, and to treat them as
independent would promise more than the data hold.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from basket.ranker import Candidates, Hidden
from basket.recall import Recall

AT = 10
RESAMPLES = 2000
NEVER = np.iinfo(np.int64).max
GOALS = (("ranker", "blend", 0.05), ("ranker", "popularity", 0.80))
BLEND_WEIGHTS = (0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.75, 1.0, 2.0)


@dataclass(frozen=True)
class Figure:
    """A mean and the bounds that hold 95 % of its resamples."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Gain:
    """By how much one method's hit rate exceeds another's, as a share of the latter."""

    method: str
    over: str
    goal: float
    figure: Figure

    @property
    def verdict(self) -> str:
        return "ok" if self.figure.value >= self.goal else "short"


@dataclass(frozen=True)
class Quality:
    """The table: a hit rate and an NDCG a method, and the gains that are goals."""

    baskets: int
    households: int
    hit_rate: Mapping[str, Figure]
    ndcg: Mapping[str, Figure]
    gains: Sequence[Gain]


def places(found: Candidates, hidden: Hidden, score: NDArray[np.float64]) -> NDArray[np.int64]:
    """Place [Q] of each hidden item among its cart's candidates, 0 is first; NEVER where it is not proposed.

    A score that is not above -inf proposes nothing. Equal scores stand in the order of the items.
    """
    cart = np.repeat(np.arange(len(found.size)), found.size)
    order = np.lexsort((found.item, -score, cart))
    place = np.empty(len(order), dtype=np.int64)
    place[order] = np.arange(len(order)) - np.repeat(np.cumsum(found.size) - found.size, found.size)
    hit = (found.item == hidden.item[cart]) & (score > -np.inf)
    result = np.full(len(hidden), NEVER, dtype=np.int64)
    result[cart[hit]] = place[hit]
    return result


def popularity_places(share: NDArray[np.float64], hidden: Hidden) -> NDArray[np.int64]:
    """Place [Q] of each hidden item among all items that are not in its cart, most popular first."""
    rank = np.empty(len(share), dtype=np.int64)
    rank[np.argsort(-share, kind="stable")] = np.arange(len(share))
    before = [(rank[cart] < rank[item]).sum() for cart, item in zip(hidden.cart, hidden.item, strict=True)]
    placed: NDArray[np.int64] = rank[hidden.item] - np.asarray(before)
    return placed


def best_blend(found: Candidates, hidden: Hidden) -> float:
    """The weight of the cosine beside the household's share that hits most often on these carts."""
    return max(BLEND_WEIGHTS, key=lambda weight: _hits(places(found, hidden, blended(found, weight))).mean())


def blended(found: Candidates, weight: float) -> NDArray[np.float64]:
    """The hand-made score [R] that the ranker must beat."""
    return weight * found.features["cosine"] + found.features["household_share"]


def measure(
    recall: Recall, found: Candidates, hidden: Hidden, weight: float, ranked: NDArray[np.float64]
) -> Quality:
    """Compare the methods on the same carts; `ranked` are the ranker's scores [R]."""
    placed = {
        "popularity": popularity_places(recall.share, hidden),
        "item-item cosine": places(found, hidden, _proposed(found.features["cosine"])),
        "household frequency": places(found, hidden, _proposed(found.features["household_share"])),
        "blend": places(found, hidden, blended(found, weight)),
        "ranker": places(found, hidden, ranked),
    }
    return compare(placed, hidden, GOALS)


def compare(
    placed: Mapping[str, NDArray[np.int64]], hidden: Hidden, goals: Sequence[tuple[str, str, float]]
) -> Quality:
    """The table of methods from the places [Q] that each gave, on the same carts; a goal is (method, over, gain)."""
    hits = np.column_stack([_hits(each) for each in placed.values()])
    gains = np.column_stack([_discounted(each) for each in placed.values()])
    names, household = np.unique(hidden.household, return_inverse=True)
    drawn = resamples(len(names))
    hit_rate = resampled_means(hits, household, drawn)
    methods = list(placed)
    return Quality(
        len(hidden),
        len(names),
        _figures(methods, hits.mean(axis=0), hit_rate),
        _figures(methods, gains.mean(axis=0), resampled_means(gains, household, drawn)),
        [_gain(methods, hits.mean(axis=0), hit_rate, goal) for goal in goals],
    )


def _proposed(score: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.where(score > 0.0, score, -np.inf)


def _hits(placed: NDArray[np.int64]) -> NDArray[np.float64]:
    return (placed < AT).astype(np.float64)


def _discounted(placed: NDArray[np.int64]) -> NDArray[np.float64]:
    """NDCG@10 of each cart; with one relevant item the ideal is 1."""
    discounted: NDArray[np.float64] = np.where(placed < AT, 1.0 / np.log2(np.minimum(placed, AT) + 2.0), 0.0)
    return discounted


def resamples(households: int) -> NDArray[np.float64]:
    """How often each household is drawn, [RESAMPLES, H]."""
    random = np.random.default_rng(11)
    return random.multinomial(households, np.full(households, 1.0 / households), size=RESAMPLES).astype(
        np.float64
    )


def resampled_means(
    values: NDArray[np.float64], household: NDArray[np.intp], drawn: NDArray[np.float64]
) -> NDArray[np.float64]:
    """The mean of each column of `values` [Q, M] in every resample, [RESAMPLES, M]."""
    sums = np.zeros((drawn.shape[1], values.shape[1]))
    np.add.at(sums, household, values)
    means: NDArray[np.float64] = (drawn @ sums) / (drawn @ np.bincount(household))[:, None]
    return means


def _figures(
    methods: Sequence[str], value: NDArray[np.float64], resampled: NDArray[np.float64]
) -> dict[str, Figure]:
    return {method: interval(value[at], resampled[:, at]) for at, method in enumerate(methods)}


def interval(value: float, resampled: NDArray[np.float64]) -> Figure:
    low, high = np.percentile(resampled, [2.5, 97.5])
    return Figure(float(value), float(low), float(high))


def _gain(
    methods: Sequence[str],
    value: NDArray[np.float64],
    resampled: NDArray[np.float64],
    wanted: tuple[str, str, float],
) -> Gain:
    method, over, goal = wanted
    new, old = methods.index(method), methods.index(over)
    figure = interval(value[new] / value[old] - 1.0, resampled[:, new] / resampled[:, old] - 1.0)
    return Gain(method, over, goal, figure)


def table(quality: Quality) -> str:
    """The table as text."""
    lines = [
        f"{quality.baskets:,} baskets of {quality.households:,} households in weeks 49-53, one item of each hidden",
        f"{'':21}{'hit-rate@10':>12} {'95 % interval':>16}{'NDCG@10':>10} {'95 % interval':>16}",
    ]
    lines += [
        f"{method:21}{_cells(quality.hit_rate[method])}{_cells(quality.ndcg[method])[2:]}"
        for method in quality.hit_rate
    ]
    lines += [
        f"{gain.method} over {gain.over}: {gain.figure.value:+.1%} [{gain.figure.low:+.1%}, {gain.figure.high:+.1%}]"
        f" goal {gain.goal:+.0%} {gain.verdict}"
        for gain in quality.gains
    ]
    return "\n".join(lines)


def _cells(figure: Figure) -> str:
    interval = f"[{figure.low:.3f}, {figure.high:.3f}]"
    return f"{figure.value:12.3f} {interval:>16}"
