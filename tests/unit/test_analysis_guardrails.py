# SPDX-License-Identifier: Apache-2.0
"""A variant that breaks a limit is found quickly, and one that keeps it is left alone."""

from __future__ import annotations

from math import sqrt
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from measured_experiments import (
    ID,
    METRIC,
    NOW,
    Floats,
    arm,
    converted,
    counted,
    even_epochs,
    experiment,
    histogram,
    page,
    weighed,
)

from endcap_api.experiment_config import ExperimentServing, ExperimentSums, Latency, VariantServing
from endcap_operator.analysis.confidence import one_sided
from endcap_operator.analysis.latency import quantile_ms, share_above, total
from endcap_operator.analysis.look import GuardrailFigures, Look
from endcap_operator.analysis.looking import Seen, look_at


def judged(
    guardrail: dict[str, Any], *pages: ExperimentServing, sums: ExperimentSums | None = None, **changes: Any
) -> GuardrailFigures:
    spec = experiment(guardrails=[guardrail], **changes)
    look = look_at(spec, even_epochs(), Seen(sums, pages).of(ID), NOW)
    (found,) = look.guardrails
    assert len(found.message) <= 256
    return found


def serving(
    requests: int, errors: int = 0, degraded: int = 0, latency: Latency | None = None
) -> VariantServing:
    return VariantServing(requests=requests, errors=errors, degraded=degraded, latency=latency or Latency())


def state(guardrail: dict[str, Any], control: VariantServing, treatment: VariantServing) -> str:
    return judged(guardrail, page(control=control, treatment=treatment)).state


@pytest.mark.parametrize("serving_of", ["errorRate", "degradedRate"])
@pytest.mark.parametrize(
    ("control", "treatment", "limit", "expected"),
    [
        ((1000, 0), (1000, 50), 1, "breached"),
        ((1000, 0), (1000, 0), 0, "ok"),
        ((1000, 50), (1000, 50), 0, "ok"),
        ((1000, 50), (1000, 0), 0, "ok"),
        ((1000, 0), (1000, 5), 1, "ok"),  # within the limit
        ((1000, 0), (1000, 15), 1, "ok"),  # beyond it, and not beyond chance
        ((1000, 0), (1000, 50), 5, "ok"),
        ((100_000, 0), (100_000, 1200), 1, "breached"),
        ((100, 0), (100, 100), 1, "breached"),  # no noise at all
        ((100, 100), (100, 100), 0, "ok"),
        ((99, 0), (5000, 5000), 1, "no data"),
        ((5000, 0), (99, 99), 1, "no data"),
        ((0, 0), (0, 0), 1, "no data"),
    ],
)
def test_rates(
    serving_of: str, control: tuple[int, int], treatment: tuple[int, int], limit: float, expected: str
) -> None:
    field = "errors" if serving_of == "errorRate" else "degraded"
    arms = [serving(n, **{field: bad}) for n, bad in (control, treatment)]
    assert state({"serving": serving_of, "limit": limit}, *arms) == expected


def test_an_error_is_no_degradation_and_the_other_way_round() -> None:
    failing, degraded = serving(1000, errors=500), serving(1000, degraded=500)
    assert state({"serving": "degradedRate", "limit": 1}, serving(1000), failing) == "ok"
    assert state({"serving": "errorRate", "limit": 1}, serving(1000), degraded) == "ok"


def excess(bad: int, limit: float, n: int = 1000, baseline: int = 10) -> float:
    p0, p1 = baseline / n, bad / n
    return (p1 - p0 - limit / 100) / sqrt(p0 * (1 - p0) / n + p1 * (1 - p1) / n)


def after(*bad: int) -> Look:
    """Looks one after the other, each with so many errors of 1,000 in the treatment, and 10 in the baseline."""
    spec, look = experiment(guardrails=[{"serving": "errorRate", "limit": 1}]), None
    for count in bad:
        pages = [page(control=serving(1000, 10), treatment=serving(1000, count))]
        look = look_at(spec, even_epochs(), Seen(None, pages, look), NOW)
    assert look is not None
    return look


def test_four_standard_errors_of_the_excess_are_enough_at_once() -> None:
    sure = next(bad for bad in range(1000) if excess(bad, 1) > 4)
    assert after(sure).breached
    assert not after(sure - 1).breached


def test_three_are_enough_when_two_looks_in_a_row_find_them() -> None:
    suspect = next(bad for bad in range(1000) if excess(bad, 1) > 3)
    assert excess(suspect, 1) < 4
    assert not after(suspect).breached
    assert not after(suspect - 1, suspect).breached
    assert not after(suspect, suspect - 1).breached
    assert not after(suspect, suspect - 1, suspect).breached
    assert after(suspect, suspect).breached
    assert after(suspect - 1, suspect, suspect).breached


def test_the_look_before_is_of_the_same_variant_and_guardrail() -> None:
    suspect = serving(1000, errors=50)
    variants = weighed(control=1, a=1, b=1)
    spec = experiment(
        variants=variants,
        guardrails=[{"serving": "errorRate", "limit": 1}, {"serving": "degradedRate", "limit": 1}],
    )
    epochs = even_epochs(control=3334, a=3333, b=3333)

    def look(before: Look | None, **arms: VariantServing) -> Look:
        return look_at(spec, epochs, Seen(None, [page(control=serving(1000, 10, 10), **arms)], before), NOW)

    first = look(None, a=suspect, b=serving(1000))
    assert first.guardrails[0].suspects == ["a"]
    assert not look(first, a=serving(1000), b=suspect).breached
    assert not look(first, a=serving(1000, degraded=50), b=serving(1000)).breached
    again = look(first, a=suspect, b=serving(1000)).breached
    assert again is not None
    assert (again.name, again.variant) == ("errorRate", "a")


def test_pods_count_together() -> None:
    pages = [page(control=serving(60), treatment=serving(60, errors=30)) for _ in range(3)]
    guardrail = {"serving": "errorRate", "limit": 1}
    assert judged(guardrail, pages[0]).state == "no data"
    assert judged(guardrail, *pages).state == "breached"


def test_pages_of_another_experiment_do_not_count() -> None:
    other = page("another", control=serving(1000), treatment=serving(1000, errors=900))
    assert judged({"serving": "errorRate", "limit": 1}, other).state == "no data"


def latencies(seed: int, count: int, factor: float = 1.0) -> Floats:
    return np.random.default_rng(seed).lognormal(2.5, 0.5, count) * factor


@pytest.mark.parametrize(
    ("factor", "limit", "count", "expected"),
    [
        (1.3, 10, 1000, "breached"),
        (1.0, 10, 1000, "ok"),
        (1.0, 0, 1000, "ok"),
        (0.7, 0, 1000, "ok"),
        (1.3, 50, 1000, "ok"),
        (1.05, 10, 20_000, "ok"),
        (1.3, 10, 99, "no data"),
    ],
)
def test_p95(factor: float, limit: float, count: int, expected: str) -> None:
    control, treatment = (histogram(latencies(s, count, f)) for s, f in ((1, 1.0), (2, factor)))
    arms = [serving(count, latency=each) for each in (control, treatment)]
    assert state({"serving": "p95Latency", "limit": limit}, *arms) == expected


def test_requests_without_latencies_are_no_data() -> None:
    assert state({"serving": "p95Latency", "limit": 5}, serving(1000), serving(1000)) == "no data"


@given(st.integers(0, 2**32), st.floats(0.05, 0.99), st.integers(50, 3000))
def test_quantiles_of_a_histogram_are_within_a_bucket(seed: int, part: float, count: int) -> None:
    values = np.sort(latencies(seed, count))
    found = quantile_ms(histogram(values).counts, part)
    exact = values[max(0, int(np.ceil(part * count)) - 1)]
    assert found == pytest.approx(exact, rel=0.0501)


@given(st.integers(0, 2**32), st.floats(0.01, 200), st.integers(1, 500))
def test_the_share_above_lies_between_those_of_the_edges(seed: int, limit: float, count: int) -> None:
    values = latencies(seed, count)
    found = share_above(histogram(values).counts, limit)
    assert (values > limit * 1.0501).mean() - 1e-9 <= found <= (values > limit / 1.0501).mean() + 1e-9


@given(st.integers(0, 2**32), st.floats(0.05, 0.95))
def test_the_share_above_a_quantile_is_what_it_leaves(seed: int, part: float) -> None:
    counts = histogram(latencies(seed, 500)).counts
    value = quantile_ms(counts, part)
    assert value is not None
    assert share_above(counts, value) == pytest.approx(1 - part, abs=1e-6)


def test_histograms_of_pods_differ_in_length() -> None:
    assert total([Latency(counts=[1, 2]), Latency(), Latency(counts=[0, 1, 5])]) == [1, 3, 5]
    assert quantile_ms([], 0.95) is None
    assert quantile_ms([0, 0], 0.95) is None


def metric_state(control: Any, treatment: Any, limit: float, goal: str = "increase") -> str:
    metrics = [{"name": METRIC, "event": "add_to_cart", "unit": "customer", "goal": goal}]
    sums = counted(control=control, treatment=treatment)
    return judged({"metric": METRIC, "limit": limit}, sums=sums, metrics=metrics).state


@pytest.mark.parametrize(
    ("treatment", "limit", "goal", "expected"),
    [
        (500, 5, "increase", "breached"),  # half
        (1000, 5, "increase", "ok"),
        (1500, 5, "increase", "ok"),  # better
        (940, 5, "increase", "ok"),  # worse, and may be chance
        (500, 60, "increase", "ok"),  # half is within the limit
        (1500, 5, "decrease", "breached"),
        (500, 5, "decrease", "ok"),
        (0, 5, "increase", "breached"),  # nothing at all
    ],
)
def test_a_metric_that_is_worse_than_its_limit(
    treatment: int, limit: float, goal: str, expected: str
) -> None:
    assert metric_state(converted(10_000, 1000), converted(10_000, treatment), limit, goal) == expected


def test_the_bound_of_a_metric_is_one_sided_over_the_baseline_and_its_limit() -> None:
    rng = np.random.default_rng(1)
    y0, y1 = rng.gamma(2, 2, 3000), rng.gamma(2, 1.7, 3000)

    def bound(limit: float) -> float:
        room = 1 - limit / 100
        error = sqrt(np.var(y1, ddof=1) / 3000 + room**2 * np.var(y0, ddof=1) / 3000)
        return float(room * y0.mean() - y1.mean() - one_sided(error, 6000, 0.05, 1000))

    limits = np.arange(0, 20, 0.1)
    breached = [metric_state(arm(y0), arm(y1), limit) == "breached" for limit in limits]
    assert breached == [bound(limit) > 0 for limit in limits]
    assert any(breached)
    assert not all(breached)


def test_a_baseline_of_zero_has_a_limit_of_zero() -> None:
    nothing = converted(10_000, 0)
    assert metric_state(nothing, converted(10_000, 300), 50, "decrease") == "breached"
    assert metric_state(nothing, converted(10_000, 0), 50, "decrease") == "ok"
    assert metric_state(nothing, converted(10_000, 300), 0, "increase") == "ok"


def test_a_baseline_below_zero_is_worsened_by_what_is_lower_still() -> None:
    rng = np.random.default_rng(2)
    losses = arm(rng.normal(-10, 5, 5000))
    assert metric_state(losses, arm(rng.normal(-15, 5, 5000)), 10) == "breached"
    assert metric_state(losses, arm(rng.normal(-10.5, 5, 5000)), 10) == "ok"
    assert metric_state(losses, arm(rng.normal(-5, 5, 5000)), 0) == "ok"


def test_too_few_units_and_no_sums_are_no_data() -> None:
    assert metric_state(converted(10_000, 1000), converted(49, 0), 5) == "no data"
    assert judged({"metric": METRIC, "limit": 5}).state == "no data"


def test_the_worst_variant_speaks() -> None:
    spec = {
        "variants": [
            {"name": "control", "baseline": True, "weight": 1},
            {"name": "fine", "weight": 1, "model": "a"},
            {"name": "poor", "weight": 1, "model": "b"},
            {"name": "silent", "weight": 1, "model": "c"},
        ]
    }
    pages = page(control=serving(1000), fine=serving(1000), poor=serving(1000, errors=100), silent=serving(3))
    found = judged({"serving": "errorRate", "limit": 1}, pages, **spec)
    assert (found.state, found.variant) == ("breached", "poor")
    assert "10.0% of 1000 against 0.0% of 1000" in found.message
