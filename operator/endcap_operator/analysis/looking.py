# SPDX-License-Identifier: Apache-2.0
"""From what ingest has counted and the graph's pods have served to one look."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from endcap_api.experiment_config import ExperimentServing, ExperimentSums, VariantServing, VariantSums
from endcap_api.v1alpha1.base import milliseconds
from endcap_api.v1alpha1.experiment import ExperimentSpec
from endcap_api.v1alpha1.measurement import Guardrail, Metric
from endcap_operator.analysis.guardrails import Judged, confirmed, judge_metric, judge_serving, name_of, worst
from endcap_operator.analysis.latency import quantile_ms, total
from endcap_operator.analysis.lift import Estimate, Level, compare, lift_of
from endcap_operator.analysis.look import (
    Epoch,
    GuardrailFigures,
    Lift,
    Look,
    ShadowFigures,
    VariantFigures,
)
from endcap_operator.analysis.sample_ratio import sample_ratio
from endcap_operator.analysis.verdict import decide

# Below it the estimate of a skewed metric is not yet normal, and a sequence would promise what it cannot hold.
FEWEST = 50
_OLD_MS = 120_000
_OLD_INTERVALS = 3
_EMPTY = VariantSums()


@dataclass(frozen=True)
class Seen:
    """sums: of an ingest pod; None where none answered. served: of each ready pod of the graph that answered.

    before: the last look, as the record has it.
    """

    sums: ExperimentSums | None = None
    served: Sequence[ExperimentServing] = ()
    before: Look | None = None

    def of(self, identity: str) -> Seen:
        """Without what is of another experiment, such as an earlier one of the same name."""
        own = self.sums if self.sums is not None and self.sums.id == identity else None
        return Seen(own, [page for page in self.served if page.id == identity], self.before)


@dataclass(frozen=True)
class Counts:
    """What of the sums is compared: of the epochs that can be, by variant. left_out: the other epochs' numbers."""

    epochs: Mapping[str, Mapping[str, VariantSums]]
    exposed: int
    left_out: tuple[str, ...]

    def of(self, variant: str) -> list[VariantSums]:
        return [variants.get(variant, _EMPTY) for variants in self.epochs.values()]


@dataclass(frozen=True)
class Compared:
    """Estimates by treatment and metric; those of too few units are not in it."""

    level: Level
    estimates: Mapping[tuple[str, str], Estimate]


def look_at(spec: ExperimentSpec, epochs: Mapping[str, Epoch], seen: Seen, now_ms: int) -> Look:
    """epochs: by number, as in the record. seen: of this experiment alone."""
    counts, compared = _compared(spec, epochs, seen.sums)
    pods = [page.variants for page in seen.served]
    why = _staleness(spec, seen.sums, now_ms)
    look = Look(
        at_ms=now_ms,
        exposed=counts.exposed,
        units=sum(arm.units for variants in counts.epochs.values() for arm in variants.values()),
        fresh=not why,
        freshness=why,
        variants={v.name: _figures(v.name, counts, compared, pods) for v in spec.variants},
        sample_ratio=sample_ratio((_units(arms), epochs[n].stages()) for n, arms in counts.epochs.items()),
        guardrails=[_guarded(spec, each, compared, seen.before, pods) for each in spec.guardrails or ()],
        left_out=list(counts.left_out),
    )
    verdict, holds = decide(spec, look, _doubt(spec, look, pods))
    return look.model_copy(update={"verdict": verdict, "holds": holds})


def _compared(
    spec: ExperimentSpec, epochs: Mapping[str, Epoch], sums: ExperimentSums | None
) -> tuple[Counts, Compared]:
    counts = _counts(epochs, sums)
    level = Level(spec.analysis.alpha / len(spec.treatments), spec.analysis.minimum_units)
    return counts, Compared(level, dict(_estimates(spec, counts)))


def _counts(epochs: Mapping[str, Epoch], sums: ExperimentSums | None) -> Counts:
    found = sums.epochs if sums else {}
    usable = {n: variants for n, variants in found.items() if n in epochs and epochs[n].comparable}
    exposed = sum(arm.units for variants in found.values() for arm in variants.values())
    return Counts(usable, exposed, tuple(n for n in sorted(found, key=int) if n not in usable))


def _units(variants: Mapping[str, VariantSums]) -> dict[str, int]:
    return {name: sums.units for name, sums in variants.items()}


def _estimates(spec: ExperimentSpec, counts: Counts) -> Iterator[tuple[tuple[str, str], Estimate]]:
    baseline = counts.of(spec.baseline.name)
    for treatment in spec.treatments:
        pairs = list(zip(baseline, counts.of(treatment.name), strict=True))
        for metric in spec.metrics or ():
            found = compare(pairs, metric.name, ratio=metric.per is not None)
            if found is not None and found.fewest >= min(FEWEST, spec.analysis.minimum_units):
                yield (treatment.name, metric.name), found


def _staleness(spec: ExperimentSpec, sums: ExperimentSums | None, now_ms: int) -> str:
    """Why the sums say nothing of now; empty when they do. Without a store there are none to wait for."""
    if spec.store is None:
        return ""
    if sums is None:
        return f"no ingest pod of {spec.store} says what it has counted"
    old = max(_OLD_MS, _OLD_INTERVALS * milliseconds(spec.analysis.interval))
    if now_ms - sums.at_ms > old:
        return f"the sums are older than {old // 1000} s"
    if sums.lag_ms > old:
        return f"an exposure or outcome has waited for more than {old // 1000} s"
    return ""


def _doubt(spec: ExperimentSpec, look: Look, pods: Sequence[Mapping[str, VariantServing]]) -> str:
    """Why a guardrail may be broken although none is found to be: a promotion cannot be rolled back."""
    if look.suspicion:
        return look.suspicion
    unheard = next((each.serving for each in spec.guardrails or () if each.serving and not pods), None)
    return f"{unheard}: no replica of the graph says how it serves" if unheard else ""


def _figures(
    name: str,
    counts: Counts,
    compared: Compared,
    pods: Sequence[Mapping[str, VariantServing]],
) -> VariantFigures:
    arms = counts.of(name)
    return VariantFigures(
        units=sum(arm.units for arm in arms),
        fallback=sum(arm.fallback for arm in arms),
        crossed=sum(arm.crossed for arm in arms),
        lifts=dict(_lifts(name, compared)),
        shadow=_shadow([pod[name] for pod in pods if name in pod]),
    )


def _lifts(name: str, compared: Compared) -> Iterator[tuple[str, Lift]]:
    for (treatment, metric), estimate in compared.estimates.items():
        found = lift_of(estimate, compared.level)
        if treatment == name and found is not None:
            yield metric, found


def _shadow(pods: Iterable[VariantServing]) -> ShadowFigures | None:
    agreed = [pod.shadow for pod in pods if pod.shadow is not None]
    compared = sum(each.compared for each in agreed)
    if not agreed:
        return None
    return ShadowFigures(
        compared=compared,
        overlap=sum(each.overlap for each in agreed) / max(1, compared),
        correlation=sum(each.correlation for each in agreed) / max(1, compared),
        p95_ms=quantile_ms(total(each.latency for each in agreed), 0.95),
        errors=sum(each.errors for each in agreed),
        dropped=sum(each.dropped for each in agreed),
    )


def _guarded(
    spec: ExperimentSpec,
    guardrail: Guardrail,
    compared: Compared,
    before: Look | None,
    pods: Sequence[Mapping[str, VariantServing]],
) -> GuardrailFigures:
    suspects = before.suspects(name_of(guardrail)) if before else []
    judged = [_judged(spec, guardrail, each.name, compared, pods) for each in spec.treatments]
    return worst(guardrail, [confirmed(each, suspects) for each in judged])


def _judged(
    spec: ExperimentSpec,
    guardrail: Guardrail,
    treatment: str,
    compared: Compared,
    pods: Sequence[Mapping[str, VariantServing]],
) -> Judged:
    if guardrail.metric is None:
        baseline = spec.baseline.name
        pages = [(pod[baseline], pod[treatment]) for pod in pods if baseline in pod and treatment in pod]
        return judge_serving(treatment, guardrail, pages, spec.analysis.minimum_requests)
    goal = _metric(spec, guardrail.metric).goal
    estimate = compared.estimates.get((treatment, guardrail.metric))
    return judge_metric(treatment, guardrail, goal, estimate, compared.level)


def _metric(spec: ExperimentSpec, name: str) -> Metric:
    return next(metric for metric in spec.metrics or () if metric.name == name)
