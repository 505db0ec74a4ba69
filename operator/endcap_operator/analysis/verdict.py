# SPDX-License-Identifier: Apache-2.0
"""What a look says, or why it says nothing yet.

In this order, so that no doubt is passed over: units that are not where they should be, a broken limit, figures that
are missing or old, a limit that may be broken, too few units; only then the metric that decides.
"""

from __future__ import annotations

from endcap_api.v1alpha1.experiment import ExperimentSpec
from endcap_operator.analysis.look import Lift, Look, Verdict
from endcap_operator.analysis.words import shown_lift, shown_ratio

Decided = tuple[Verdict | None, str]


def decide(spec: ExperimentSpec, look: Look, doubt: str) -> Decided:
    """The verdict, or None and why it holds. doubt: why a guardrail may be broken unseen; empty when none may."""
    if look.sample_ratio.state == "mismatch":
        message = f"the units do not come in the ratio of the weights: {shown_ratio(look.sample_ratio)}"
        return Verdict(kind="Invalid", message=message), ""
    if look.breached:
        message = f"{look.breached.name}: {look.breached.message}"
        return Verdict(kind="GuardrailBreached", message=message, variant=look.breached.variant), ""
    if not look.fresh:
        return None, look.freshness
    if doubt:
        return None, doubt
    if spec.primary is None:
        return _unless_spent(spec, look, "no metric decides")
    return _counted(spec, spec.primary, look)


def _counted(spec: ExperimentSpec, primary: str, look: Look) -> Decided:
    minimum = spec.analysis.minimum_units
    if look.units < minimum:
        return _unless_spent(spec, look, f"{look.units} of {minimum} units")
    lifts = {v.name: look.variants[v.name].lifts.get(primary) for v in spec.treatments}
    known = {name: lift for name, lift in lifts.items() if lift is not None}
    return _compared(spec, primary, look, known)


def _compared(spec: ExperimentSpec, primary: str, look: Look, lifts: dict[str, Lift]) -> Decided:
    upwards = next(m for m in spec.metrics or () if m.name == primary).goal == "increase"
    better = [name for name, lift in lifts.items() if (lift.above if upwards else lift.below)]
    worse = [name for name, lift in lifts.items() if (lift.below if upwards else lift.above)]
    if better:
        best = max(better, key=lambda name: abs(lifts[name].difference))
        return _verdict("Better", best, primary, look, lifts[best]), ""
    if worse and len(worse) == len(spec.treatments):
        least = min(worse, key=lambda name: abs(lifts[name].difference))
        return _verdict("Worse", least, primary, look, lifts[least]), ""
    why = "no figure yet" if len(lifts) < len(spec.treatments) else "may still be chance"
    return _unless_spent(spec, look, f"{primary}: {why}")


def _verdict(kind: str, variant: str, primary: str, look: Look, lift: Lift) -> Verdict:
    message = f"{primary} {shown_lift(lift)} at {look.units} units"
    return Verdict.model_validate({"kind": kind, "variant": variant, "message": message})


def _unless_spent(spec: ExperimentSpec, look: Look, why: str) -> Decided:
    most = spec.analysis.maximum_units
    if most is None or look.exposed < most:
        return None, why
    return Verdict(kind="Inconclusive", message=f"{look.exposed} units without a winner; {why}"), ""
