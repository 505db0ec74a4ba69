# SPDX-License-Identifier: Apache-2.0
"""Coverage step by step, at a constant ratio: whoever is in stays, and keeps the variant.

A ramp that is edited under way goes on from the coverage that it has: it never lowers it by itself.
"""

from __future__ import annotations

from collections.abc import Iterator

from endcap_api.v1alpha1.base import milliseconds
from endcap_api.v1alpha1.experiment import RampStep
from endcap_operator.analysis.look import Look
from endcap_operator.plan.experiment.moment import NEXT_LOOK, Advanced, Moment, covering


def climb(m: Moment) -> Advanced | None:
    """The next step, or Running after the last; `waits` says what keeps it."""
    if m.record.phase != "Ramping":
        return None
    steps = m.spec.ramp.steps if m.spec.ramp else []
    passed = [step for step in steps if step.coverage <= m.record.coverage]
    kept = [*_amiss(m), *(_holds(m, passed[-1]) if passed else ())]
    if kept:
        due = _over_ms(m, passed[-1]) if passed else m.now_ms
        return m.stays("; ".join(kept), due if due > m.now_ms else None)
    if m.look is None:
        return m.stays(NEXT_LOOK)
    return _raised(m, steps[len(passed) :])


def _raised(m: Moment, steps: list[RampStep]) -> Advanced:
    if not steps:
        return m.goes("Running", f"the ramp is done at {m.record.coverage}%{_figures(m.look)}")
    coverage = steps[0].coverage
    message = f"coverage {m.record.coverage}% to {coverage}%{_figures(m.look)}"
    return m.goes("Ramping", message, **covering(m, coverage))


def _figures(look: Look | None) -> str:
    return f", {look.exposed} units" if look and look.exposed else ""


def _amiss(m: Moment) -> Iterator[str]:
    if m.record.mismatch:
        yield f"nothing: {m.record.mismatch}; create another Experiment"
    if m.record.look and m.record.look.freshness:
        yield m.record.look.freshness
    if m.record.look and m.record.look.suspicion:
        yield m.record.look.suspicion
    if m.facts.unready:
        yield f"not ready to serve: {', '.join(m.facts.unready)}"
    if not m.facts.synced:
        yield "not every replica of the graph serves it yet"


def _holds(m: Moment, step: RampStep) -> Iterator[str]:
    exposed = m.record.look.exposed if m.record.look else 0
    if _over_ms(m, step) > m.now_ms:
        yield f"hold of {step.hold} at {m.record.coverage}%"
    if step.minimum_units and exposed < step.minimum_units:
        yield f"{exposed} of {step.minimum_units} units"
    if step.approval and step.coverage > _approved(m):
        yield f"approval: set spec.ramp.approved to {step.coverage}"


def _approved(m: Moment) -> int:
    return (m.spec.ramp.approved or 0) if m.spec.ramp else 0


def _over_ms(m: Moment, step: RampStep) -> int:
    return m.record.coverage_since_ms + (milliseconds(step.hold) if step.hold else 0)
