# SPDX-License-Identifier: Apache-2.0
"""The status of an experiment: all of it follows from the record, but for who serves it and what keeps it waiting."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from fractions import Fraction
from typing import Any

from endcap_operator.analysis.look import GuardrailFigures, Lift, Look, VariantFigures
from endcap_operator.analysis.words import (
    shown_lift,
    shown_percent,
    shown_ratio,
    shown_shadow,
    shown_verdict,
)
from endcap_operator.plan.experiment.conditions import Course, conditions
from endcap_operator.plan.experiment.promotion import recommended
from endcap_operator.plan.experiment.record import Record
from endcap_operator.plan.experiment.shares import shares, shown_share, shown_split, shown_traffic
from endcap_operator.plan.experiment.situation import carries

_LONGEST_MESSAGE, _LONGEST_LABEL = 512, 128


def experiment_status(course: Course) -> dict[str, Any]:
    situation, record, spec = course.situation, course.record, course.situation.spec
    routers = situation.routers
    synced = sum(carries(situation.name, record, pod) for pod in routers)
    found = {
        "observedGeneration": course.generation,
        **decided(record),
        "serving": f"{synced}/{len(routers)}",
        "traffic": shown_traffic(record),
        "split": shown_split(spec, record),
        **_figures(course, record.look),
        "verdict": shown_verdict(record.verdict),
        "variants": _variants(course),
        "recommendation": recommended(situation, record),
        "history": [_entry(each) for each in record.history],
        "conditions": conditions(course),
    }
    return {name: value for name, value in found.items() if value is not None}


def decided(record: Record) -> dict[str, Any]:
    """What nobody but the operator decides."""
    return {
        "phase": record.phase,
        "revision": record.revision,
        "epoch": record.epoch,
        "salt": record.salt,
    }


def _figures(course: Course, look: Look | None) -> dict[str, Any]:
    spec = course.situation.spec
    if look is None:
        return {"sampleRatio": "no data"} if spec.metrics else {}
    measured = {"sampleRatio": shown_ratio(look.sample_ratio), "primary": _primary(course, look)}
    return {
        **({"units": look.units} if spec.store else {}),
        **(measured if spec.metrics else {}),
        **({"guardrail": _guardrail(look)} if spec.guardrails else {}),
        "guardrails": [_guardrail_status(each) for each in look.guardrails] or None,
        "analysedAt": time_of(look.at_ms),
    }


def _primary(course: Course, look: Look) -> str | None:
    """Of the variant that the verdict names, else of the one that looks best."""
    spec = course.situation.spec
    named = {
        name: each.lifts[spec.primary] for name, each in look.variants.items() if spec.primary in each.lifts
    }
    if not named:
        return None
    decided_one = course.record.verdict.variant if course.record.verdict else None
    sign = next((-1 if m.goal == "decrease" else 1 for m in spec.metrics or () if m.name == spec.primary), 1)
    best = decided_one if decided_one in named else max(named, key=lambda name: sign * named[name].difference)
    return shown_lift(named[best])


def _guardrail(look: Look) -> str | None:
    breached = [each.name for each in look.guardrails if each.state == "breached"]
    if breached:
        return f"breached {', '.join(breached)}"[:64]
    sound = sum(each.state == "ok" for each in look.guardrails)
    return f"ok {sound}/{len(look.guardrails)}" if look.guardrails else None


def _guardrail_status(figures: GuardrailFigures) -> dict[str, str]:
    return {"name": figures.name, "state": figures.state, "message": figures.message[:256]}


def _variants(course: Course) -> list[dict[str, Any]]:
    spec, record = course.situation.spec, course.record
    part, look = shares(spec, record), record.look
    return [
        {
            "name": variant.name,
            **_pinned(course, variant.name),
            "share": shown_share(part.get(variant.name, Fraction())),
            "buckets": record.ranges.get(variant.name, []),
            **_measured(course, look.variants.get(variant.name) if look else None),
        }
        for variant in spec.variants
    ]


def _pinned(course: Course, variant: str) -> dict[str, str]:
    pin = course.record.pins.get(variant)
    return {"model": pin.label[:_LONGEST_LABEL], "digest": pin.sha256} if pin else {}


def _measured(course: Course, figures: VariantFigures | None) -> dict[str, Any]:
    if figures is None:
        return {}
    lifts: Mapping[str, Lift] = figures.lifts
    return {
        **({"units": figures.units} if course.situation.spec.store else {}),
        **({"fallback": shown_percent(figures.fallback / figures.units)} if figures.units else {}),
        **({"lift": {name: shown_lift(lift) for name, lift in lifts.items()}} if lifts else {}),
        **({"shadow": shown_shadow(figures.shadow)} if figures.shadow else {}),
    }


def _entry(entry: Any) -> dict[str, str]:
    return {"time": time_of(entry.time_ms), "phase": entry.phase, "message": entry.message[:_LONGEST_MESSAGE]}


def time_of(ms: int) -> str:
    return datetime.fromtimestamp(ms // 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
