# SPDX-License-Identifier: Apache-2.0
"""How much of all units an experiment has, in words: exact, from buckets, layer and holdout."""

from __future__ import annotations

from fractions import Fraction

from endcap_api.assignment import BUCKETS, covered, parse_ranges, size
from endcap_api.v1alpha1.experiment import ExperimentSpec
from endcap_operator.plan.experiment.record import Record

_SERVING = ("Ramping", "Running", "AwaitingApproval")


def shares(spec: ExperimentSpec, record: Record) -> dict[str, Fraction]:
    """Of all units, by variant; nothing where none takes part."""
    if record.phase == "Promoting" and record.everyone:
        return {variant.name: Fraction(variant.name == record.everyone) for variant in spec.variants}
    if record.phase not in _SERVING:
        return {}
    room = _room(spec)
    return {
        name: room * size(covered(owned, record.coverage)) / BUCKETS
        for name, owned in record.allotted.items()
    }


def shown_traffic(record: Record) -> str:
    """Coverage: the part of its units that an experiment has now, of its layer where it is in one."""
    return f"{record.coverage if record.phase in _SERVING else 100 if record.phase == 'Promoting' else 0}%"


def _room(spec: ExperimentSpec) -> Fraction:
    layer = Fraction(size(parse_ranges(spec.layer.buckets)), BUCKETS) if spec.layer else Fraction(1)
    return layer * (Fraction(100 - spec.holdout.percent, 100) if spec.holdout else 1)


def shown_share(share: Fraction) -> str:
    """`12.5%`; what is there is never shown as nothing."""
    return f"{_rounded(100 * share)}%"


def shown_split(spec: ExperimentSpec, record: Record) -> str:
    """The variants' parts of the units that take part at full coverage, in percent and in order: `50/50`."""
    owned = record.allotted
    parts = {variant.name: size(owned.get(variant.name, ())) for variant in spec.variants}
    if record.phase == "Promoting" and record.everyone:
        parts = {name: int(name == record.everyone) for name in parts}
    total = sum(parts.values()) or 1
    return "/".join(_rounded(Fraction(100 * part, total)) for part in parts.values())


def _rounded(percent: Fraction) -> str:
    for digits in (1, 2, 3):
        text = f"{float(percent):.{digits}f}".rstrip("0").rstrip(".")
        if text != "0" or not percent:
            return text
    return "<0.001"
