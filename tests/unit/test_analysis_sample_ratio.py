# SPDX-License-Identifier: Apache-2.0
"""Units that are not where their buckets say are found, and those that are never are."""

from __future__ import annotations

from math import log

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import gammaln

from endcap_operator.analysis.look import Epoch
from endcap_operator.analysis.sample_ratio import (
    CONCENTRATION,
    MISMATCH,
    expected_shares,
    log_bayes_factor,
    sample_ratio,
)

EVEN = {"control": 5000, "treatment": 5000}
named = st.integers(2, 6).flatmap(
    lambda k: st.tuples(
        st.lists(st.integers(0, 10**7), min_size=k, max_size=k),
        st.lists(st.integers(1, 5000), min_size=k, max_size=k),
    )
)


@given(named)
def test_the_evidence_is_the_dirichlet_multinomials(both: tuple[list[int], list[int]]) -> None:
    counts, buckets = (np.array(each, dtype=float) for each in both)
    theta = buckets / buckets.sum()
    prior, n = CONCENTRATION * theta, counts.sum()
    marginal = (
        gammaln(CONCENTRATION) - gammaln(CONCENTRATION + n) + np.sum(gammaln(prior + counts) - gammaln(prior))
    )
    exact = marginal - np.sum(counts * np.log(theta))
    units, shares = ({str(i): each for i, each in enumerate(values)} for values in (both[0], theta))
    assert log_bayes_factor(units, shares) == pytest.approx(exact, rel=1e-9, abs=1e-4)


@given(named)
def test_the_order_of_variants_says_nothing(both: tuple[list[int], list[int]]) -> None:
    units, buckets = ({str(i): each for i, each in enumerate(values)} for values in both)
    turned = [dict(reversed(each.items())) for each in (units, buckets)]
    forth, back = sample_ratio([(units, [buckets])]), sample_ratio([(turned[0], [turned[1]])])
    assert forth.log_bayes_factor == pytest.approx(back.log_bayes_factor, rel=1e-9, abs=1e-4)


def test_evidence_of_epochs_is_multiplied() -> None:
    first, second = (
        ({"control": 5200, "treatment": 5000}, [EVEN]),
        ({"control": 2050, "treatment": 950}, [{"control": 7000, "treatment": 3000}]),
    )
    apart = [sample_ratio([each]).log_bayes_factor for each in (first, second)]
    assert sample_ratio([first, second]).log_bayes_factor == pytest.approx(sum(apart))


def test_what_is_within_epochs_as_the_weights_say_is_no_mismatch_over_them() -> None:
    """Pooled it would be 65 to 35 against the last weights of 90 to 10."""
    epochs = [
        ({"control": 5000, "treatment": 5000}, [EVEN]),
        ({"control": 9000, "treatment": 1000}, [{"control": 9000, "treatment": 1000}]),
    ]
    assert sample_ratio(epochs).state == "ok"
    assert (
        sample_ratio([({"control": 14000, "treatment": 6000}, [{"control": 9000, "treatment": 1000}])]).state
        == "mismatch"
    )


def test_a_thousand_to_one_is_the_line() -> None:
    counts = next(
        c
        for c in range(5000, 9000)
        if log_bayes_factor({"control": c, "treatment": 5000}, _halves()) > log(1000)
    )
    assert sample_ratio([({"control": counts, "treatment": 5000}, [EVEN])]).state == "mismatch"
    assert sample_ratio([({"control": counts - 1, "treatment": 5000}, [EVEN])]).state == "ok"
    assert log(1000) == MISMATCH


def _halves() -> dict[str, float]:
    return {"control": 0.5, "treatment": 0.5}


def test_a_unit_of_a_variant_without_buckets_is_certain_evidence() -> None:
    found = sample_ratio([({"control": 900, "treatment": 1}, [{"control": 10_000, "treatment": 0}])])
    assert found.state == "mismatch"
    assert found.log_bayes_factor < float("inf"), "JSON has no infinity"
    assert sample_ratio([({"control": 900, "ghost": 1}, [EVEN])]).state == "mismatch"


def test_without_units_there_is_no_data() -> None:
    assert sample_ratio([]).state == "no data"
    assert sample_ratio([({"control": 0}, [EVEN])]).state == "no data"


def test_a_ramp_of_odd_weights_is_held_to_what_its_coverages_allow() -> None:
    """Of 9,950 and 50 buckets 1 % are 100 and 1, and 5 % are 498 and 3: neither the weights, nor each other."""
    epoch = Epoch(buckets={"control": 9950, "treatment": 50}, coverages=[1, 5])
    assert epoch.stages() == [{"control": 100, "treatment": 1}, {"control": 498, "treatment": 3}]
    at_first = {"control": 200_000, "treatment": 2_000}
    assert sample_ratio([(at_first, [epoch.buckets])]).state == "mismatch"
    assert sample_ratio([(at_first, epoch.stages())]).state == "ok"
    assert sample_ratio([({"control": 249_000, "treatment": 1_500}, epoch.stages())]).state == "ok"
    between = {"control": 220_000, "treatment": 1_700}
    assert sample_ratio([(between, epoch.stages())]).state == "ok"
    assert sample_ratio([({"control": 200_000, "treatment": 2_600}, epoch.stages())]).state == "mismatch"
    assert sample_ratio([({"control": 249_000, "treatment": 1_000}, epoch.stages())]).state == "mismatch"


def test_whole_percents_have_one_ratio_at_every_coverage() -> None:
    epoch = Epoch(buckets={"control": 7000, "treatment": 3000}, coverages=[1, 5, 25, 100])
    shares = {tuple(expected_shares({"control": 9, "treatment": 9}, [s]).values()) for s in epoch.stages()}
    assert shares == {(0.7, 0.3)}


def test_a_lost_twenty_fifth_is_found_and_a_sound_split_is_left_alone() -> None:
    """100 runs of 90,000 units at 20 looks; the benchmark has more of both."""
    rng = np.random.default_rng(3)
    looks = np.full(20, 4500)

    def flagged(share: float) -> float:
        treated = np.cumsum(rng.binomial(looks, share, (100, 20)), axis=1)
        at = np.cumsum(looks)
        runs = [
            any(
                sample_ratio([({"control": int(n - t), "treatment": int(t)}, [EVEN])]).state == "mismatch"
                for n, t in zip(at, run, strict=True)
            )
            for run in treated
        ]
        return float(np.mean(runs))

    assert flagged(0.48 / 0.98) >= 0.9
    assert flagged(0.5) == 0
