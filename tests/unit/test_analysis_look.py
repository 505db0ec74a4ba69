# SPDX-License-Identifier: Apache-2.0
"""What a look says, and when it says nothing: nobody is promoted by figures that are missing, old or broken."""

from __future__ import annotations

from math import inf, nan

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from measured_experiments import (
    ID,
    METRIC,
    NOW,
    arm,
    converted,
    counted,
    even_epochs,
    experiment,
    histogram,
    page,
    weighed,
)

from endcap_api.experiment_config import Agreement, ExperimentSums, VariantServing, VariantSums
from endcap_api.v1alpha1.experiment import ExperimentSpec
from endcap_operator.analysis.look import Epoch, Lift, Look, SampleRatio, ShadowFigures, Verdict
from endcap_operator.analysis.looking import Seen, look_at
from endcap_operator.analysis.words import (
    shown_lift,
    shown_percent,
    shown_ratio,
    shown_shadow,
    shown_verdict,
)

WIN = {"control": converted(5000, 500), "treatment": converted(5000, 750)}


def looked(
    sums: ExperimentSums | None,
    spec: ExperimentSpec | None = None,
    epochs: dict[str, Epoch] | None = None,
    now_ms: int = NOW,
) -> Look:
    return look_at(spec or experiment(), epochs or even_epochs(), Seen(sums, ()).of(ID), now_ms)


def said(look: Look) -> tuple[str, str | None]:
    return (look.verdict.kind, look.verdict.variant) if look.verdict else ("hold", None)


def arms(**conversions: int) -> dict[str, VariantSums]:
    return {name: converted(5000, each) for name, each in conversions.items()}


def test_a_clear_winner_is_better_and_a_clear_loser_worse() -> None:
    assert said(looked(counted(**WIN))) == ("Better", "treatment")
    assert said(looked(counted(**arms(control=750, treatment=500)))) == ("Worse", "treatment")
    assert said(looked(counted(**arms(control=500, treatment=510)))) == ("hold", None)


def test_less_is_better_where_the_goal_says_so() -> None:
    metrics = [{"name": METRIC, "event": "refund", "unit": "customer", "goal": "decrease"}]
    spec = experiment(metrics=metrics)
    assert said(looked(counted(**arms(control=750, treatment=500)), spec)) == ("Better", "treatment")
    assert said(looked(counted(**WIN), spec)) == ("Worse", "treatment")


def test_of_several_treatments_the_best_one_wins_and_all_must_be_worse() -> None:
    variants = weighed(control=1, a=1, b=1)
    spec, epochs = experiment(variants=variants), even_epochs(control=3334, a=3333, b=3333)

    def of(control: int, a: int, b: int) -> tuple[str, str | None]:
        return said(looked(counted(**arms(control=control, a=a, b=b)), spec, epochs))

    assert of(500, 750, 900) == ("Better", "b")
    assert of(500, 900, 750) == ("Better", "a")
    assert of(500, 200, 900) == ("Better", "b")
    assert of(900, 200, 300) == ("Worse", "b")
    assert of(900, 200, 900) == ("hold", None)


def test_each_of_several_treatments_has_its_part_of_alpha() -> None:
    variants = weighed(control=1, a=1, b=1, c=1)
    many = looked(
        counted(**arms(control=500, a=600, b=500, c=500)),
        experiment(variants=variants, analysis={"alpha": 0.06}),
        even_epochs(control=2500, a=2500, b=2500, c=2500),
    )
    one = looked(counted(**arms(control=500, treatment=600)), experiment(analysis={"alpha": 0.02}))
    assert many.variants["a"].lifts[METRIC] == one.variants["treatment"].lifts[METRIC]


@pytest.mark.parametrize(
    ("sums", "holds"),
    [
        (None, "no ingest pod of default"),
        (counted(), "0 of 1000 units"),
        (counted(control=converted(400, 40), treatment=converted(400, 300)), "800 of 1000 units"),
        (counted(control=converted(5000, 0), treatment=converted(5000, 0)), "no figure yet"),
        (counted(control=VariantSums(units=5000), treatment=WIN["treatment"]), "no figure yet"),
        (counted(**WIN).model_copy(update={"id": "another"}), "no ingest pod of default"),
        (counted(**WIN).model_copy(update={"at_ms": NOW - 121_000}), "older than 120 s"),
        (counted(**WIN).model_copy(update={"lag_ms": 121_000}), "waited for more than 120 s"),
    ],
)
def test_without_figures_of_now_it_holds_and_says_why(sums: ExperimentSums | None, holds: str) -> None:
    look = looked(sums)
    assert look.verdict is None
    assert holds in look.holds


def test_an_arm_of_49_units_has_no_figure_yet() -> None:
    spec = experiment(variants=weighed(control=9900, treatment=100))
    epochs = even_epochs(control=9900, treatment=100)
    few, enough = (
        looked(counted(control=converted(99 * n, 9 * n), treatment=converted(n, n)), spec, epochs)
        for n in (49, 50)
    )
    assert few.holds == "add-to-cart: no figure yet"
    assert said(enough) == ("Better", "treatment")


def test_a_longer_interval_makes_sums_old_later() -> None:
    old = counted(**WIN).model_copy(update={"at_ms": NOW - 200_000})
    assert looked(old).verdict is None
    assert said(looked(old, experiment(analysis={"interval": "2m"}))) == ("Better", "treatment")


figure = st.sampled_from([nan, inf, -inf])


@given(figure, st.sampled_from(["y", "yy", "xx", "xy"]), st.sampled_from(["control", "treatment"]))
def test_what_is_no_number_is_no_verdict(value: float, field: str, variant: str) -> None:
    broken = WIN[variant].metrics[METRIC].model_copy(update={field: value})
    spoilt = WIN[variant].model_copy(update={"metrics": {METRIC: broken}})
    look = looked(counted(**{**WIN, variant: spoilt}))
    assert look.verdict is None
    assert Look.model_validate_json(look.model_dump_json(by_alias=True)) == look


def test_the_units_of_an_epoch_that_cannot_be_compared_are_exposed_and_do_not_count() -> None:
    epochs = {**even_epochs(), "2": Epoch(buckets={"control": 9000, "treatment": 1000}, comparable=False)}
    sums = counted({"1": arms(control=500, treatment=500), "2": WIN, "7": WIN})
    look = looked(sums, epochs=epochs)
    assert (look.units, look.exposed, look.left_out) == (10_000, 30_000, ["2", "7"])
    assert look.verdict is None
    assert look.sample_ratio.state == "ok"


def test_a_mismatch_comes_before_every_verdict() -> None:
    sums = counted(control=converted(9000, 900), treatment=converted(5000, 4000))
    assert said(looked(sums)) == ("Invalid", None)


def test_a_broken_guardrail_comes_before_a_win() -> None:
    spec = experiment(guardrails=[{"serving": "errorRate", "limit": 1}])
    pages = page(control=VariantServing(requests=900), treatment=VariantServing(requests=900, errors=90))
    look = look_at(spec, even_epochs(), Seen(counted(**WIN), [pages]), NOW)
    assert said(look) == ("GuardrailBreached", "treatment")


def test_a_win_waits_for_the_look_that_clears_or_confirms_a_suspect() -> None:
    """What everyone gets cannot be rolled back, so a doubt comes before it."""
    spec = experiment(guardrails=[{"serving": "errorRate", "limit": 1}])

    def after(before: Look | None, errors: int) -> Look:
        pages = page(
            control=VariantServing(requests=1000, errors=10),
            treatment=VariantServing(requests=1000, errors=errors),
        )
        return look_at(spec, even_epochs(), Seen(counted(**WIN), [pages], before), NOW)

    first = after(None, 42)
    assert (said(first), first.guardrails[0].suspects) == (("hold", None), ["treatment"])
    assert first.holds == "errorRate may be broken by treatment: the next look decides"
    assert said(after(first, 20)) == ("Better", "treatment")
    assert said(after(first, 42)) == ("GuardrailBreached", "treatment")


def test_a_win_waits_for_a_pod_that_says_how_it_serves() -> None:
    spec = experiment(guardrails=[{"serving": "errorRate", "limit": 1}])
    look = look_at(spec, even_epochs(), Seen(counted(**WIN), ()), NOW)
    assert said(look) == ("hold", None)
    assert look.holds == "errorRate: no replica of the graph says how it serves"


def test_units_that_are_spent_end_it_without_a_winner() -> None:
    spec = experiment(analysis={"maximumUnits": 10_000})
    assert said(looked(counted(**arms(control=500, treatment=510)), spec)) == ("Inconclusive", None)
    assert said(looked(counted(**WIN), spec)) == ("Better", "treatment"), "a winner is no less one at the end"
    fewer = counted(control=converted(4999, 500), treatment=converted(5000, 510))
    assert looked(fewer, spec).verdict is None


def test_old_sums_do_not_end_it() -> None:
    spec = experiment(analysis={"maximumUnits": 10_000})
    old = counted(**arms(control=500, treatment=510)).model_copy(update={"at_ms": 0})
    assert looked(old, spec).verdict is None


def test_without_metrics_nothing_decides() -> None:
    spec = experiment(store=None, metrics=None, primary=None)
    look = looked(None, spec)
    assert look.verdict is None
    assert look.fresh
    assert look.holds == "no metric decides"


def test_units_are_spent_without_metrics_too() -> None:
    spec = experiment(metrics=None, primary=None, analysis={"maximumUnits": 10_000})
    exposed = {n: VariantSums(units=5000) for n in ("control", "treatment")}
    assert said(looked(counted(**exposed), spec)) == ("Inconclusive", None)
    fewer = {**exposed, "control": VariantSums(units=4999)}
    assert looked(counted(**fewer), spec).verdict is None


def test_figures_of_variants() -> None:
    fallen = WIN["treatment"].model_copy(update={"fallback": 12, "crossed": 3})
    look = looked(counted({"1": {**WIN, "treatment": fallen}}))
    treatment = look.variants["treatment"]
    assert (treatment.units, treatment.fallback, treatment.crossed) == (5000, 12, 3)
    assert treatment.lifts[METRIC].relative == pytest.approx(0.5)
    assert look.variants["control"].lifts == {}


def test_a_shadow_tells_its_agreement_over_all_pods() -> None:
    spec = experiment(
        mode="shadow",
        store=None,
        metrics=None,
        primary=None,
        variants=[{"name": "control", "baseline": True}, {"name": "treatment", "model": "m"}],
    )
    rng = np.random.default_rng(1)
    agreed = [
        Agreement(
            compared=n,
            overlap=n * o,
            correlation=n * c,
            errors=1,
            dropped=2,
            latency=histogram(rng.gamma(9, 1, n)),
        )
        for n, o, c in ((300, 0.9, 0.8), (100, 0.5, 0.4))
    ]
    pages = [page(control=VariantServing(), treatment=VariantServing(shadow=each)) for each in agreed]
    shadow = look_at(spec, even_epochs(), Seen(None, pages), NOW).variants["treatment"].shadow
    assert shadow is not None
    assert (shadow.compared, shadow.errors, shadow.dropped) == (400, 2, 4)
    assert (shadow.overlap, shadow.correlation) == pytest.approx((0.8, 0.7))
    assert shadow.p95_ms == pytest.approx(14.5, rel=0.1)


def test_a_shadow_that_was_not_asked_has_no_means() -> None:
    spec = experiment(
        mode="shadow",
        store=None,
        metrics=None,
        primary=None,
        variants=[{"name": "control", "baseline": True}, {"name": "treatment", "model": "m"}],
    )
    pages = [page(control=VariantServing(), treatment=VariantServing(shadow=Agreement()))]
    shadow = look_at(spec, even_epochs(), Seen(None, pages), NOW).variants["treatment"].shadow
    assert shadow == ShadowFigures(compared=0, overlap=0.0, correlation=0.0)


@given(st.lists(st.integers(0, 300), min_size=4, max_size=4), st.permutations(["control", "a", "b"]))
def test_the_order_of_variants_and_epochs_says_nothing(seeds: list[int], order: list[str]) -> None:
    spec = experiment(variants=weighed(control=1, a=1, b=1))
    drawn = {
        n: {
            v: arm(np.random.default_rng([s, i]).poisson(1, 80).astype(float))
            for i, v in enumerate(("control", "a", "b"))
        }
        for n, s in zip("12", seeds, strict=False)
    }
    epochs = {n: even_epochs(control=3334, a=3333, b=3333)["1"] for n in "12"}
    turned = {n: {v: drawn[n][v] for v in order} for n in "21"}
    one, other = (looked(counted(each), spec, epochs) for each in (drawn, turned))
    assert one.sample_ratio.log_bayes_factor == pytest.approx(other.sample_ratio.log_bayes_factor)
    for name in ("a", "b"):
        first, second = (look.variants[name].lifts[METRIC] for look in (one, other))
        assert first.model_dump() == pytest.approx(second.model_dump())


LIFT = Lift(difference=0.1, lower=-0.2, upper=0.4, relative=0.018, relative_lower=-0.004, relative_upper=0.04)
FAR = Lift(
    difference=1e12, lower=-1.0, upper=2.0, relative=1e18, relative_lower=-1e18, relative_upper=3.12e18
)
AGREED = ShadowFigures(compared=640, overlap=0.91, correlation=0.884, p95_ms=12.34, errors=3, dropped=1)


@pytest.mark.parametrize(
    ("shown", "words"),
    [
        (shown_percent(0.018), "1.8%"),
        (shown_percent(-0.0004, signed=True), "0.0%"),
        (shown_percent(0.125, signed=True), "+12.5%"),
        (shown_lift(LIFT), "+1.8% [-0.4%, +4.0%]"),
        (shown_lift(FAR), "+1e+20% [-1e+20%, +3.12e+20%]"),
        (shown_lift(Lift(difference=0.12345, lower=-0.2, upper=0.0)), "+0.123 [-0.2, 0]"),
        (shown_ratio(SampleRatio(state="no data")), "no data"),
        (shown_ratio(SampleRatio(state="ok", log_bayes_factor=-3.5)), "ok (0.03)"),
        (shown_ratio(SampleRatio(state="mismatch", log_bayes_factor=1e6)), "mismatch (>1e300)"),
        (shown_verdict(None), "None yet"),
        (shown_verdict(Verdict(kind="Better", variant="treatment", message="")), "Better treatment"),
        (shown_verdict(Verdict(kind="Inconclusive", message="")), "Inconclusive"),
        (
            shown_shadow(AGREED),
            "overlap 0.91, correlation 0.88, p95 12.3 ms, 3 failures of 643, 1 dropped",
        ),
    ],
)
def test_words(shown: str, words: str) -> None:
    assert shown == words


def test_a_verdict_tells_its_figures() -> None:
    verdict = looked(counted(**WIN)).verdict
    assert verdict is not None
    assert verdict.message == "add-to-cart +50.0% [+26.1%, +79.7%] at 10000 units"
