# SPDX-License-Identifier: Apache-2.0
"""Lifts from sums are those that oracles find from the units themselves, to 1e-9."""

from __future__ import annotations

from math import inf, nan, sqrt

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from measured_experiments import METRIC, Floats, arm, converted, sums_of
from scipy import stats
from scipy.optimize import brentq

from endcap_api.experiment_config import Sums, VariantSums
from endcap_operator.analysis.confidence import two_sided
from endcap_operator.analysis.lift import Estimate, Level, Pair, compare, lift_of
from endcap_operator.analysis.moments import moments

EXACT = {"rel": 1e-9, "abs": 1e-12}
LEVEL = Level(0.05, 1000)


def drawn(seed: int, units: int, effect: float = 0.0) -> tuple[Floats, Floats]:
    """Skewed outcomes, and a covariate that explains much of them."""
    rng = np.random.default_rng(seed)
    x = rng.gamma(0.7, 3.0, units)
    y = rng.poisson(0.3 + 0.4 * x) * rng.lognormal(0, 0.7, units) + effect
    return y, x


def estimated(pairs: list[Pair], *, ratio: bool = False) -> Estimate:
    found = compare(pairs, METRIC, ratio=ratio)
    assert found is not None
    return found


@pytest.mark.parametrize(("first", "second"), [(400, 400), (2000, 300), (300, 2000), (2, 2), (5000, 50)])
def test_a_difference_of_means_is_scipys(first: int, second: int) -> None:
    (y0, _), (y1, _) = drawn(first, first), drawn(second + 1, second, 0.2)
    found = estimated([(arm(y0), arm(y1))])
    welch = stats.ttest_ind(y1, y0, equal_var=False)
    student = stats.ttest_ind(y1, y0, equal_var=True)
    assert found.difference == pytest.approx(y1.mean() - y0.mean(), **EXACT)
    smaller = min(abs(welch.statistic), abs(student.statistic))
    assert abs(found.difference) / sqrt(found.variance) == pytest.approx(smaller, **EXACT)


@pytest.mark.parametrize("seed", range(5))
def test_a_covariate_is_taken_away_as_a_regression_does(seed: int) -> None:
    (y0, x0), (y1, x1) = drawn(seed, 700), drawn(seed + 100, 900, 0.3)
    y, x = np.concatenate([y0, y1]), np.concatenate([x0, x1])
    design = np.column_stack([np.ones(1600), np.r_[np.zeros(700), np.ones(900)], x])
    (_, effect, slope), *_ = np.linalg.lstsq(design, y, rcond=None)
    found = estimated([(arm(y0, x0), arm(y1, x1))])
    assert found.difference == pytest.approx(effect, **EXACT)
    z0, z1 = y0 - slope * x0, y1 - slope * x1
    welch = np.var(z0, ddof=1) / 700 + np.var(z1, ddof=1) / 900
    student = (699 * np.var(z0, ddof=1) + 899 * np.var(z1, ddof=1)) / 1598 * (1 / 700 + 1 / 900)
    assert found.variance == pytest.approx(max(welch, student), **EXACT)
    assert found.variance < 0.9 * estimated([(arm(y0), arm(y1))]).variance
    assert found.covariance == pytest.approx(-np.cov(y0, z0)[0, 1] / 700, **EXACT)


def test_a_ratio_is_compared_by_the_delta_method() -> None:
    def orders(seed: int, units: int) -> tuple[Floats, Floats]:
        rng = np.random.default_rng(seed)
        count = rng.poisson(1.2, units).astype(float)
        return count * rng.lognormal(3, 0.5, units), count

    (y0, d0), (y1, d1) = orders(3, 800), orders(4, 800)
    found = estimated([(arm(y0, d=d0), arm(y1, d=d1))], ratio=True)
    assert found.difference == pytest.approx(y1.sum() / d1.sum() - y0.sum() / d0.sum(), **EXACT)

    def delta(y: Floats, d: Floats) -> float:
        r = y.sum() / d.sum()
        c = np.cov(y, d)
        return float((c[0, 0] - 2 * r * c[0, 1] + r * r * c[1, 1]) / d.mean() ** 2 / len(y))

    assert found.variance == pytest.approx(delta(y0, d0) + delta(y1, d1), **EXACT)
    rng = np.random.default_rng(5)
    picks = rng.integers(0, 800, (2000, 800))
    again = y1[picks].sum(1) / d1[picks].sum(1) - y0[picks[::-1]].sum(1) / d0[picks[::-1]].sum(1)
    assert found.variance == pytest.approx(np.var(again), rel=0.15)


@pytest.mark.parametrize("effect", [-0.5, 0.0, 0.4, 3.0])
@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_a_relative_lift_is_bounded_where_its_own_test_is(effect: float, sign: float) -> None:
    """Fieller's bounds, found by a search over what the units themselves say of each part."""
    (y0, _), (y1, _) = drawn(1, 900), drawn(2, 900, effect)
    y0, y1 = sign * y0, sign * y1
    lift = lift_of(estimated([(arm(y0), arm(y1))]), LEVEL)
    assert lift is not None
    assert lift.relative_lower is not None
    assert lift.relative_upper is not None

    def beyond(part: float) -> float:
        scaled = y0 * (1 + sign * part)
        error = sqrt((np.var(y1, ddof=1) + np.var(scaled, ddof=1)) / 900)
        return float(abs(y1.mean() - scaled.mean()) - two_sided(error, 1800, LEVEL.alpha, LEVEL.planned))

    part = (y1.mean() - y0.mean()) / abs(y0.mean())
    assert lift.relative == pytest.approx(part, **EXACT)
    assert lift.relative_lower == pytest.approx(brentq(beyond, part - 50, part, xtol=1e-13), **EXACT)
    assert lift.relative_upper == pytest.approx(brentq(beyond, part, part + 50, xtol=1e-13), **EXACT)


def test_a_relative_lift_of_many_units_has_the_error_of_the_delta_method() -> None:
    (y0, _), (y1, _) = drawn(1, 300_000), drawn(2, 300_000, 0.1)
    lift = lift_of(estimated([(arm(y0), arm(y1))]), LEVEL)
    assert lift is not None
    assert lift.relative_lower is not None
    assert lift.relative_upper is not None
    gradient = np.array([-y1.mean() / y0.mean() ** 2, 1 / y0.mean()])
    own = np.diag([np.var(y0, ddof=1), np.var(y1, ddof=1)]) / 300_000
    half = two_sided(sqrt(gradient @ own @ gradient), 600_000, LEVEL.alpha, LEVEL.planned)
    assert (lift.relative_upper - lift.relative_lower) / 2 == pytest.approx(half, rel=1e-3)


@settings(max_examples=100)
@given(st.integers(0, 2**32), st.floats(-1, 1), st.floats(0, 3))
def test_percents_never_say_something_else_than_the_verdict(seed: int, effect: float, shift: float) -> None:
    rng = np.random.default_rng(seed)
    y0, y1 = rng.normal(shift, 1, 300), rng.normal(shift + effect, 2, 200)
    lift = lift_of(estimated([(arm(y0), arm(y1))]), LEVEL)
    assert lift is not None
    if lift.relative_lower is not None and lift.relative_upper is not None:
        assert (lift.relative_lower > 0) == (lift.lower > 0)
        assert (lift.relative_upper < 0) == (lift.upper < 0)


def test_epochs_are_compared_each_in_itself() -> None:
    """Both halves of Simpson's paradox: no epoch has an effect, and the pooled means would show a large one."""
    quiet, busy = (
        [drawn(s, n)[0] for s, n in ((1, 900), (2, 100))],
        [drawn(s, n)[0] for s, n in ((3, 100), (4, 900))],
    )
    pairs = [(arm(quiet[0]), arm(quiet[1])), (arm(busy[0] + 10), arm(busy[1] + 10))]
    found = estimated(pairs)
    differences = [quiet[1].mean() - quiet[0].mean(), busy[1].mean() - busy[0].mean()]
    assert found.difference == pytest.approx(np.mean(differences), **EXACT)
    pooled = np.concatenate([quiet[1], busy[1] + 10]).mean() - np.concatenate([quiet[0], busy[0] + 10]).mean()
    assert abs(found.difference) < 1
    assert pooled > 7
    single = [estimated([pair]) for pair in pairs]
    assert found.variance == pytest.approx(sum(each.variance for each in single) / 4, **EXACT)


def test_an_epoch_of_one_unit_in_an_arm_is_left_out() -> None:
    (y0, _), (y1, _) = drawn(1, 50), drawn(2, 50)
    whole = [(arm(y0), arm(y1))]
    lone = (arm(y0[:1] * 100), arm(y1))
    assert estimated([*whole, lone]) == estimated(whole)
    assert compare([lone], METRIC, ratio=False) is None


def test_an_epoch_with_nothing_to_divide_by_is_left_out() -> None:
    (y0, d0), (y1, d1) = drawn(1, 50), drawn(2, 50)
    whole = [(arm(y0, d=d0), arm(y1, d=d1))]
    without = (arm(y0 * 0, d=d0 * 0), arm(y1, d=d1))
    assert estimated([*whole, without], ratio=True) == estimated(whole, ratio=True)
    assert compare([without], METRIC, ratio=True) is None


@pytest.mark.parametrize("value", [nan, inf, -inf, 1e200])
@pytest.mark.parametrize("field", ["y", "yy", "x", "xx", "xy", "d", "dd", "yd"])
def test_sums_that_cannot_be_leave_no_figure(field: str, value: float) -> None:
    """Not even that of a sound epoch beside them."""
    sound = (arm(drawn(1, 50)[0]), arm(drawn(2, 50)[0]))
    broken = sound[1].metrics[METRIC].model_copy(update={field: value})
    spoilt = VariantSums(units=50, metrics={METRIC: broken})
    for pairs in ([(sound[0], spoilt)], [(spoilt, sound[1])], [sound, (spoilt, sound[1])]):
        assert compare(pairs, METRIC, ratio=False) is None
        assert compare(pairs, METRIC, ratio=True) is None


@pytest.mark.parametrize(
    "sums", [Sums(y=10, yy=-1), Sums(y=100, yy=3), Sums(x=100, xx=3), Sums(d=100, dd=3), Sums(y=1, yy=nan)]
)
def test_squares_that_are_less_than_their_mean_allows_leave_no_figure(sums: Sums) -> None:
    assert moments(50, sums) is None


def test_a_metric_that_is_missing_beside_units_is_lost_and_not_zero() -> None:
    sound = arm(drawn(1, 50)[0])
    assert compare([(sound, VariantSums(units=50))], METRIC, ratio=False) is None
    assert compare([(VariantSums(units=50), sound)], METRIC, ratio=False) is None


def test_where_nothing_varies_there_is_no_noise_to_compare_with() -> None:
    for value in (0.0, 0.1, 1 / 3, 1e6 + 0.1):
        alike = [(arm(np.full(1000, value)), arm(np.full(1000, value)))]
        assert lift_of(estimated(alike), LEVEL) is None


def test_an_arm_that_never_sells_still_has_noise() -> None:
    found = estimated([(converted(5000, 250), converted(50, 0))])
    student = 0.05 * 0.95 * (1 / 5000 + 1 / 50)
    assert found.variance == pytest.approx(student, rel=0.02)


def test_digits_are_not_lost_where_values_are_large_and_alike() -> None:
    rng = np.random.default_rng(1)
    y0, y1 = (np.round(rng.normal(1e6, 1.0, 1000)) for _ in range(2))
    found = estimated([(arm(y0), arm(y1))])
    exact = max(
        np.var(y0, ddof=1) / 1000 + np.var(y1, ddof=1) / 1000,
        (np.var(y0, ddof=1) + np.var(y1, ddof=1)) / 1000,
    )
    assert found.variance == pytest.approx(exact, rel=1e-9)


def test_a_baseline_that_may_be_zero_has_no_relative_lift() -> None:
    rng = np.random.default_rng(1)
    y0, y1 = rng.normal(0.01, 1, 1000), rng.normal(1, 1, 1000)
    lift = lift_of(estimated([(arm(y0), arm(y1))]), LEVEL)
    assert lift is not None
    assert lift.relative is None
    assert lift.above


def test_less_of_a_loss_is_more() -> None:
    rng = np.random.default_rng(1)
    y0, y1 = rng.normal(-10, 1, 1000), rng.normal(-8, 1, 1000)
    lift = lift_of(estimated([(arm(y0), arm(y1))]), LEVEL)
    assert lift is not None
    assert lift.relative == pytest.approx(0.2, abs=0.02)
    assert lift.above


units = st.lists(st.tuples(*[st.integers(-50, 50).map(float)] * 2), min_size=3, max_size=40)


@settings(max_examples=60)
@given(units, units, st.floats(0.01, 1000), st.floats(-100, 100))
def test_figures_scale_with_the_metric_and_do_not_move_with_it(
    first: list[tuple[float, float]], second: list[tuple[float, float]], factor: float, shift: float
) -> None:
    pairs = [np.array(each).T for each in (first, second)]
    plain = estimated([(arm(*pairs[0]), arm(*pairs[1]))])
    scaled = estimated([(arm(pairs[0][0] * factor, pairs[0][1]), arm(pairs[1][0] * factor, pairs[1][1]))])
    moved = estimated([(arm(pairs[0][0] + shift, pairs[0][1]), arm(pairs[1][0] + shift, pairs[1][1]))])
    loosely = {"rel": 1e-6, "abs": 1e-6}
    assert scaled.difference == pytest.approx(plain.difference * factor, **loosely)
    assert scaled.variance == pytest.approx(plain.variance * factor * factor, **loosely)
    assert moved.difference == pytest.approx(plain.difference, **loosely)
    assert moved.variance == pytest.approx(plain.variance, **loosely)


@settings(max_examples=60)
@given(units, units)
def test_arms_that_change_places_have_the_opposite_lift(
    first: list[tuple[float, float]], second: list[tuple[float, float]]
) -> None:
    one, other = (arm(*np.array(each).T) for each in (first, second))
    forth, back = estimated([(one, other)]), estimated([(other, one)])
    assert forth.difference == pytest.approx(-back.difference, **EXACT)
    assert forth.variance == pytest.approx(back.variance, **EXACT)


@settings(max_examples=60)
@given(units, units)
def test_sums_of_parts_are_the_sums_of_the_whole(
    first: list[tuple[float, float]], second: list[tuple[float, float]]
) -> None:
    y, x = np.array([*first, *second]).T
    parts = [sums_of(*np.array(each).T) for each in (first, second)]
    merged = Sums(**{name: getattr(parts[0], name) + getattr(parts[1], name) for name in Sums.model_fields})
    other = arm(*np.array(first).T)
    whole = estimated([(other, arm(y, x))])
    again = estimated([(other, VariantSums(units=len(y), metrics={METRIC: merged}))])
    assert again.difference == pytest.approx(whole.difference, **EXACT)
    assert again.variance == pytest.approx(whole.variance, **EXACT)
