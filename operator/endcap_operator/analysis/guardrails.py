# SPDX-License-Identifier: Apache-2.0
"""Whether a treatment breaks a limit: how much worse than the baseline is too much.

A metric is bounded by a one-sided confidence sequence, so that each guardrail ever turns off a sound variant with a
probability of at most alpha. Serving is judged by the last minute alone, one-sided: it must be quick, and what was long
ago must not hide what is now. There z > 3 counts when two looks in a row find it, z > 4 at once: of 3,000 looks a day
four are above 3 by chance where a variant is just within its limit, and who is turned off does not come back.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import inf, sqrt

from endcap_api.experiment_config import VariantServing
from endcap_api.v1alpha1.measurement import Direction, Guardrail
from endcap_operator.analysis.confidence import one_sided
from endcap_operator.analysis.latency import quantile_ms, share_above, total
from endcap_operator.analysis.lift import Estimate, Level
from endcap_operator.analysis.look import GuardrailFigures, GuardrailState
from endcap_operator.analysis.words import shown_percent

CHANCE = 3.0
SURE = 4.0
TAIL = 0.05
_WORST: Mapping[GuardrailState, int] = {"breached": 2, "ok": 1, "no data": 0}


@dataclass(frozen=True)
class Judged:
    """A guardrail in one variant. severity: how far beyond the limit, in standard errors. suspect: see SURE."""

    variant: str
    state: GuardrailState
    message: str
    severity: float = -inf
    suspect: bool = False


def name_of(guardrail: Guardrail) -> str:
    return guardrail.metric or str(guardrail.serving)


def worst(guardrail: Guardrail, judged: Sequence[Judged]) -> GuardrailFigures:
    found = max(judged, key=lambda each: (_WORST[each.state], each.severity))
    return GuardrailFigures(
        name=name_of(guardrail),
        state=found.state,
        message=found.message[:256],
        variant=found.variant,
        suspects=[each.variant for each in judged if each.suspect],
    )


def no_data(variant: str, why: str) -> Judged:
    return Judged(variant, "no data", f"{variant}: {why}")


def judge_metric(
    variant: str, guardrail: Guardrail, goal: Direction, estimate: Estimate | None, level: Level
) -> Judged:
    """Breached when all that the sequence leaves possible is worse than the limit, a percent of the baseline's value.

    The limit is drawn from the baseline, which is itself uncertain; so the test is of treatment - baseline + limit x
    |baseline|, which needs no division and holds at a baseline of 0.
    """
    if estimate is None:
        return no_data(variant, "no outcomes yet")
    worse = 1.0 if goal == "decrease" else -1.0
    room = guardrail.limit / 100 * (1.0 if estimate.baseline >= 0 else -1.0)
    excess = worse * estimate.difference - room * estimate.baseline
    variance = estimate.variance + room * room * estimate.baseline_variance
    error = sqrt(max(0.0, variance - 2 * worse * room * estimate.covariance))
    bound = excess - one_sided(error, estimate.units, level.alpha, level.planned)
    state: GuardrailState = "breached" if bound > 0 else "ok"
    message = f"{variant}: {_against(estimate)}, limit {guardrail.limit:g}% worse"
    return Judged(variant, state, message, excess / error if error else 0.0)


def _against(estimate: Estimate) -> str:
    treatment = estimate.baseline + estimate.difference
    return f"{treatment:.4g} against {estimate.baseline:.4g}"


def judge_serving(
    variant: str, guardrail: Guardrail, pages: Sequence[tuple[VariantServing, VariantServing]], minimum: int
) -> Judged:
    """pages: of each pod, of the baseline and of the variant. `minimum` requests of each, all pods together.

    Breached when it is sure; otherwise suspect, and the look before decides, see `confirmed`.
    """
    baseline, treatment = [page[0] for page in pages], [page[1] for page in pages]
    counts = [sum(each.requests for each in arm) for arm in (baseline, treatment)]
    if min(counts) < minimum:
        return no_data(
            variant, f"{counts[1]} requests in the last minute, baseline {counts[0]}, of {minimum}"
        )
    if guardrail.serving == "p95Latency":
        return _judge_latency(variant, guardrail, baseline, treatment)
    bad = [sum(_bad(guardrail, each) for each in arm) for arm in (baseline, treatment)]
    return _judge_rate(variant, guardrail, bad, counts)


def _bad(guardrail: Guardrail, serving: VariantServing) -> int:
    return serving.errors if guardrail.serving == "errorRate" else serving.degraded


def _judge_rate(variant: str, guardrail: Guardrail, bad: list[int], counts: list[int]) -> Judged:
    first, second = (min(1.0, b / n) for b, n in zip(bad, counts, strict=True))
    error = sqrt(first * (1 - first) / counts[0] + second * (1 - second) / counts[1])
    severity = _z(second - first - guardrail.limit / 100, error)
    said = f"{shown_percent(second)} of {counts[1]} against {shown_percent(first)} of {counts[0]}"
    return _judged(variant, severity, f"{said}, limit {guardrail.limit:g} points more")


def _judge_latency(
    variant: str, guardrail: Guardrail, baseline: list[VariantServing], treatment: list[VariantServing]
) -> Judged:
    """How many of the treatment's requests are slower than the baseline's p95 raised by the limit, against 5 %.

    The baseline's p95 is as uncertain as a share of its own requests is, so its noise counts too.
    """
    slow, fast = (total(each.latency for each in arm) for arm in (treatment, baseline))
    p95, own = quantile_ms(fast, 1 - TAIL), quantile_ms(slow, 1 - TAIL)
    if p95 is None or own is None:
        return no_data(variant, "no latencies")
    share = share_above(slow, p95 * (1 + guardrail.limit / 100))
    error = sqrt(TAIL * (1 - TAIL) * (1 / sum(slow) + 1 / sum(fast)))
    said = f"p95 {own:.3g} ms against {p95:.3g} ms, limit {guardrail.limit:g}% slower"
    return _judged(variant, _z(share - TAIL, error), said)


def _z(excess: float, error: float) -> float:
    """Without any noise at all an excess is certain."""
    if error:
        return excess / error
    return inf if excess > 0 else -inf


def _judged(variant: str, severity: float, message: str) -> Judged:
    state: GuardrailState = "breached" if severity > SURE else "ok"
    return Judged(variant, state, f"{variant}: {message}", severity, suspect=severity > CHANCE)


def confirmed(judged: Judged, suspects: Sequence[str]) -> Judged:
    """Breached when it is suspect now and was so at the look before."""
    return replace(judged, state="breached") if judged.suspect and judged.variant in suspects else judged
