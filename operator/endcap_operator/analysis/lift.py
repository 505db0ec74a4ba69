# SPDX-License-Identifier: Apache-2.0
"""How much more a treatment brings than the baseline, from sums alone.

A mean is compared after CUPED (Deng et al., "Improving the sensitivity of online controlled experiments", 2013): what
the covariate explains is taken away, with the slope pooled within the two arms, as a regression on the arm and the
covariate would find it. A ratio is compared by the delta method (Deng et al., "Applying the delta method in metric
analytics", 2018). Each epoch is compared in itself, and the differences are weighted by its units: a change of
weights then never looks like an effect (Simpson's paradox).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import astuple, dataclass
from math import isfinite, sqrt

from endcap_api.experiment_config import VariantSums
from endcap_operator.analysis.confidence import two_sided
from endcap_operator.analysis.look import Lift
from endcap_operator.analysis.moments import Moments, moments

Pair = tuple[VariantSums, VariantSums]


@dataclass(frozen=True)
class Level:
    """alpha: of this comparison. planned: the units at which the sequence is tightest."""

    alpha: float
    planned: int


@dataclass(frozen=True)
class Estimate:
    """difference: treatment less baseline. Variances are those of the estimates; covariance: of the two.

    units: of both arms. fewest: of the smaller one.
    """

    units: int
    fewest: int
    difference: float
    variance: float
    baseline: float
    baseline_variance: float
    covariance: float


def compare(pairs: Iterable[Pair], metric: str, *, ratio: bool) -> Estimate | None:
    """Over the epochs, each as its sums of baseline and treatment. None where there is nothing to compare.

    An epoch with fewer than two units in an arm, or of a ratio without anything to divide by, is left out; one whose
    sums cannot be leaves no figure at all, for then nothing is known of the others either.
    """
    counted = [pair for pair in pairs if min(pair[0].units, pair[1].units) >= 2]  # noqa: PLR2004
    arms = [(_moments(baseline, metric), _moments(treatment, metric)) for baseline, treatment in counted]
    known = [(baseline, treatment) for baseline, treatment in arms if baseline and treatment]
    found = list(_compared(known, ratio=ratio))
    if not found or len(known) < len(arms):
        return None
    combined = _combined(found)
    return combined if all(map(isfinite, astuple(combined))) else None


def _compared(arms: list[tuple[Moments, Moments]], *, ratio: bool) -> Iterator[Estimate]:
    for baseline, treatment in arms:
        if not ratio:
            yield _means(baseline, treatment)
        elif baseline.d and treatment.d:
            yield _ratios(baseline, treatment)


def _moments(arm: VariantSums, metric: str) -> Moments | None:
    """A metric that is missing beside units is lost, not zero."""
    sums = arm.metrics.get(metric)
    return moments(arm.units, sums) if sums is not None else None


def _means(baseline: Moments, treatment: Moments) -> Estimate:
    theta = _slope(baseline, treatment)
    spreads = [
        max(0.0, arm.yy - 2 * theta * arm.xy + theta * theta * arm.xx) for arm in (baseline, treatment)
    ]
    shared = baseline.yy - theta * baseline.xy
    moved = theta * (treatment.x - baseline.x)
    return _estimate(
        baseline, treatment, (baseline.y, treatment.y - baseline.y - moved), spreads, (baseline.yy, shared)
    )


def _slope(baseline: Moments, treatment: Moments) -> float:
    """Of y on x within the arms; 0 without a covariate."""
    products = sum((arm.units - 1) * arm.xy for arm in (baseline, treatment))
    squares = sum((arm.units - 1) * arm.xx for arm in (baseline, treatment))
    return products / squares if squares else 0.0


def _ratios(baseline: Moments, treatment: Moments) -> Estimate:
    first, second = baseline.y / baseline.d, treatment.y / treatment.d
    spreads = [_linearised(baseline, first), _linearised(treatment, second)]
    return _estimate(baseline, treatment, (first, second - first), spreads, (spreads[0], spreads[0]))


def _linearised(arm: Moments, ratio: float) -> float:
    return max(0.0, arm.yy - 2 * ratio * arm.yd + ratio * ratio * arm.dd) / (arm.d * arm.d)


def _estimate(
    baseline: Moments,
    treatment: Moments,
    values: tuple[float, float],
    spreads: list[float],
    own: tuple[float, float],
) -> Estimate:
    """values: of the baseline, and the difference. own: spread of the baseline's value, and what both share of it."""
    value, shared = own
    return Estimate(
        units=baseline.units + treatment.units,
        fewest=min(baseline.units, treatment.units),
        difference=values[1],
        variance=_variance(spreads, [baseline.units, treatment.units]),
        baseline=values[0],
        baseline_variance=value / baseline.units,
        covariance=-shared / baseline.units,
    )


def _variance(spreads: list[float], units: list[int]) -> float:
    """Welch's variance of a difference, or Student's where that is larger.

    A small arm of a skewed metric that has not met its rare large values yet looks both poor and quiet, and by Welch's
    alone a canary of 1 % is found worse in half of all experiments without any difference (decision 0066). Student's
    takes most of its noise from the large arm. Of equal arms both are the same.
    """
    welch = sum(spread / count for spread, count in zip(spreads, units, strict=True))
    pooled = sum(spread * (count - 1) for spread, count in zip(spreads, units, strict=True)) / (
        sum(units) - 2
    )
    return max(welch, pooled * sum(1 / count for count in units))


def _combined(epochs: list[Estimate]) -> Estimate:
    units = sum(each.units for each in epochs)
    parts = [(each.units / units, each) for each in epochs]
    return Estimate(
        units=units,
        fewest=sum(each.fewest for each in epochs),
        difference=sum(part * each.difference for part, each in parts),
        variance=sum(part * part * each.variance for part, each in parts),
        baseline=sum(part * each.baseline for part, each in parts),
        baseline_variance=sum(part * part * each.baseline_variance for part, each in parts),
        covariance=sum(part * part * each.covariance for part, each in parts),
    )


def lift_of(estimate: Estimate, level: Level) -> Lift | None:
    """With its confidence sequence; None where nothing varies, so that there is no noise to compare with."""
    if not estimate.variance:
        return None
    errors = two_sided(1.0, estimate.units, level.alpha, level.planned)
    half, difference = errors * sqrt(estimate.variance), estimate.difference
    parts = dict(_relative(estimate, errors))
    return Lift(difference=difference, lower=difference - half, upper=difference + half, **parts)


def _relative(estimate: Estimate, errors: float) -> Iterator[tuple[str, float]]:
    """The parts p for which difference - p x |baseline| is within so many of its own standard errors of 0 (Fieller).

    So 0 is outside exactly when it is outside of the difference's own bounds: what is shown in percent never says
    something else than what is decided. Of a baseline that is not clearly away from 0 no part is bounded.
    """
    base, sign = abs(estimate.baseline), 1.0 if estimate.baseline >= 0 else -1.0
    square = errors * errors
    room = base * base - square * estimate.baseline_variance
    if room <= 0:
        return
    middle = (estimate.difference * base - square * sign * estimate.covariance) / room
    rest = (estimate.difference**2 - square * estimate.variance) / room
    half = sqrt(max(0.0, middle * middle - rest))
    yield "relative", estimate.difference / base
    yield "relative_lower", middle - half
    yield "relative_upper", middle + half
