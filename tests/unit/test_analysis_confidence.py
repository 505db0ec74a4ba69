# SPDX-License-Identifier: Apache-2.0
"""The confidence sequence is the published one, and holds at every look at once."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar
from scipy.special import lambertw

from endcap_operator.analysis.confidence import mixture, one_sided, two_sided


def published(sigma: float, t: int, alpha: float, rho: float) -> float:
    """Theorem 2.2 as it is printed: sigma sqrt(2 (t rho^2 + 1) / (t^2 rho^2) ln(sqrt(t rho^2 + 1) / alpha))."""
    return float(
        sigma * np.sqrt(2 * (t * rho**2 + 1) / (t**2 * rho**2) * np.log(np.sqrt(t * rho**2 + 1) / alpha))
    )


levels = st.floats(0.0001, 0.2)
counts = st.integers(2, 10**9)


@given(levels, counts, counts, st.floats(1e-6, 1e6))
def test_it_is_the_published_sequence(alpha: float, units: int, planned: int, sigma: float) -> None:
    rho = mixture(alpha, planned) ** 0.5
    error = sigma / units**0.5
    assert two_sided(error, units, alpha, planned) == pytest.approx(
        published(sigma, units, alpha, rho), rel=1e-9
    )


@given(levels, counts)
def test_the_mixture_is_lamberts(alpha: float, planned: int) -> None:
    exact = -lambertw(-(alpha**2) * np.exp(-1), k=-1).real - 1
    assert mixture(alpha, planned) * planned == pytest.approx(exact, rel=1e-9)


@pytest.mark.parametrize("alpha", [0.001, 0.05, 0.2])
def test_nothing_else_is_tighter_at_the_planned_units(alpha: float) -> None:
    planned = 1000
    best = minimize_scalar(
        lambda rho: published(1, planned, alpha, rho),
        bounds=(1e-4, 10),
        method="bounded",
        options={"xatol": 1e-9},
    )
    assert mixture(alpha, planned) ** 0.5 == pytest.approx(best.x, rel=1e-3)
    assert two_sided(1 / planned**0.5, planned, alpha, planned) == pytest.approx(best.fun, rel=1e-9)


@given(levels, counts, counts)
def test_a_bound_on_one_side_is_nearer_than_one_on_both(alpha: float, units: int, planned: int) -> None:
    alpha = min(alpha, 0.1)
    rho2 = mixture(2 * alpha, planned)
    u = units * rho2 + 1
    exact = np.sqrt(2 * u / (units**2 * rho2) * np.log(1 + np.sqrt(u) / (2 * alpha)))
    assert one_sided(1 / units**0.5, units, alpha, planned) == pytest.approx(exact, rel=1e-9)
    assert one_sided(1.0, planned, alpha, planned) < two_sided(1.0, planned, alpha, planned)


@given(levels, counts, counts, st.floats(0, 1e9))
def test_it_grows_with_the_error_and_only_with_it(
    alpha: float, units: int, planned: int, error: float
) -> None:
    assert two_sided(2 * error, units, alpha, planned) == pytest.approx(
        2 * two_sided(error, units, alpha, planned)
    )


@pytest.mark.parametrize("side", [one_sided, two_sided])
def test_the_truth_is_within_all_of_its_intervals_but_with_alpha(side: object) -> None:
    """1,000 walks of 100 looks: 5 % may leave; a z-test of one look at a time loses 40 %."""
    rng = np.random.default_rng(7)
    looks = np.arange(200, 20_001, 200)
    sums = np.cumsum(rng.normal(0, np.sqrt(200), (1000, len(looks))), axis=1)
    bounds = np.array([side(1 / n**0.5, int(n), 0.05, 1000) for n in looks])  # type: ignore[operator]
    means = sums / looks
    left = np.any((np.abs(means) if side is two_sided else means) > bounds, axis=1).mean()
    naive = np.any(np.abs(means) > 1.96 / np.sqrt(looks), axis=1).mean()
    assert left <= 0.05
    assert naive > 0.3
