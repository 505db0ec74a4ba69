# SPDX-License-Identifier: Apache-2.0
"""What the experiment should find: both rankers over all visits, offline, before anybody is assigned to anything.

The rules of the graph are not applied. Intervals resample households, as in examples/01-basket.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from basket.evaluate import AT, Figure, interval, resampled_means, resamples
from basket.ranker import Candidates
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Quality:
    """Products added a visit by each ranker, and by which share the last adds more than the first.

    noise_left: the part of the variance between households that the covariate leaves; 1: it explains nothing.
    """

    visits: int
    households: int
    added: Mapping[str, Figure]
    gain: Figure
    noise_left: float


def added(found: Candidates, scores: Floats, bought: Sequence[NDArray[np.int32]]) -> Floats:
    """Of the first ten candidates of each visit, how many the household then bought, [V]."""
    visit = np.repeat(np.arange(len(found.size)), found.size)
    order = np.lexsort((found.item, -scores, visit))
    starts = np.cumsum(found.size) - found.size
    shown = [
        found.item[order[start : start + min(AT, size)]]
        for start, size in zip(starts, found.size, strict=True)
    ]
    counts = [len(np.intersect1d(first, then)) for first, then in zip(shown, bought, strict=True)]
    return np.asarray(counts, dtype=np.float64)


def measure(methods: Mapping[str, Floats], household: NDArray[np.int32], past: Floats) -> Quality:
    """`methods`: products added [V] by each ranker; `household` [V]; `past` [V]: the covariate of its household."""
    names, place = np.unique(household, return_inverse=True)
    values = np.column_stack(list(methods.values()))
    means, drawn = values.mean(axis=0), resampled_means(values, place, resamples(len(names)))
    whole = np.bincount(place, weights=values[:, -1])
    known = np.bincount(place, weights=past) / np.bincount(place)
    return Quality(
        len(household),
        len(names),
        {name: interval(means[at], drawn[:, at]) for at, name in enumerate(methods)},
        interval(means[-1] / means[0] - 1.0, drawn[:, -1] / drawn[:, 0] - 1.0),
        1.0 - float(np.corrcoef(whole, known)[0, 1] ** 2),
    )


def table(quality: Quality) -> str:
    """The figures as text."""
    lines = [
        f"{quality.visits:,} visits of {quality.households:,} households in weeks 49-53, half of each basket hidden"
    ]
    lines += [
        f"{name:14} {figure.value:6.3f} added a visit  [{figure.low:.3f}, {figure.high:.3f}]"
        for name, figure in quality.added.items()
    ]
    gain = quality.gain
    lines.append(f"gain {gain.value:+.1%} [{gain.low:+.1%}, {gain.high:+.1%}]")
    lines.append(f"the covariate leaves {quality.noise_left:.0%} of the variance between households")
    return "\n".join(lines)
