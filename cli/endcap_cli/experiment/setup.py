# SPDX-License-Identifier: Apache-2.0
"""What an experiment is asked to do, in terms and values for a person. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from endcap_api.experiment_config import salt_of
from endcap_api.v1alpha1.experiment import ExperimentSpec, RampStep
from endcap_api.v1alpha1.measurement import Metric
from endcap_cli.experiment.standing import Standing


def setup(standing: Standing) -> Iterator[tuple[str, str]]:
    for term, value in _told(standing):
        if value:
            yield term, value


def _told(standing: Standing) -> Iterator[tuple[str, str | None]]:
    spec = standing.spec
    yield "unit", ", else ".join(spec.unit)
    if spec.mode == "split":
        yield "salt", salt_of(standing.name.name, spec)
        yield "weights", ", ".join(f"{each.name} {each.weight}" for each in spec.variants)
    yield "coverage", _coverage(spec)
    yield "only where", spec.targeting
    yield "layer", f"{spec.layer.name}: {', '.join(spec.layer.buckets)}" if spec.layer else None
    yield "held out", f"{spec.holdout.percent}% of {spec.holdout.name}" if spec.holdout else None
    for metric in spec.metrics or ():
        yield f"metric {metric.name}", _metric(metric)
    yield from _verdict(spec)
    for variant in standing.variants:
        if variant.get("digest"):
            yield f"model of {variant['name']}", f"{variant.get('model')}, SHA-256 {variant['digest']}"


def _verdict(spec: ExperimentSpec) -> Iterator[tuple[str, str | None]]:
    if spec.primary is None:
        return
    analysis = spec.analysis
    least = f"at least {analysis.minimum_units:,} units"
    most = f", at most {analysis.maximum_units:,}" if analysis.maximum_units else ""
    yield "verdict", f"by {spec.primary}, alpha {analysis.alpha:g}, {least}{most}"
    yield "on a win", f"{spec.on_win or 'requireApproval'}, then {spec.promotion}"


def _coverage(spec: ExperimentSpec) -> str:
    if spec.ramp is None:
        return f"{spec.full_coverage}%"
    return ", ".join(map(_step, spec.ramp.steps))


def _step(step: RampStep) -> str:
    conditions = [
        f"{step.hold}" if step.hold else None,
        f"{step.minimum_units:,} units" if step.minimum_units else None,
        "an approval" if step.approval else None,
    ]
    told = " and ".join(filter(None, conditions))
    return f"{step.coverage}% until {told}" if told else f"{step.coverage}%"


def _metric(metric: Metric) -> str:
    counted = f"sum of {metric.field} of {metric.event}" if metric.field else f"number of {metric.event}"
    value = f"whether there is {metric.event}" if metric.conversion else counted
    per = f" per {metric.per.field or metric.per.event}" if metric.per else ""
    wish = "more is better" if metric.goal == "increase" else "less is better"
    described = f"{metric.description}: " if metric.description else ""
    return f"{described}{value}{per} within {metric.window}, {wish}"
