# SPDX-License-Identifier: Apache-2.0
"""What follows from a verdict: a promotion, a question to a person, or an end without a winner."""

from __future__ import annotations

from endcap_operator.analysis.look import Verdict
from endcap_operator.plan.experiment.moment import NEXT_LOOK, Advanced, Moment


def await_approval(m: Moment) -> Advanced | None:
    if m.record.phase != "AwaitingApproval":
        return None
    winner = m.record.verdict.variant if m.record.verdict else None
    return m.stays(f"approval: set spec.decision.promote to {winner}")


def conclude(m: Moment) -> Advanced:
    """Of Running; nothing else is left, so what it waits for is said, in the same words between looks as with one."""
    found = _found(m)
    return found if m.look or not found.transitions else m.stays(NEXT_LOOK)


def _found(m: Moment) -> Advanced:
    look = m.record.look
    if m.record.mismatch:
        return _ended_invalid(m) or m.stays(f"a decision: {m.record.mismatch}")
    if look is None or look.verdict is None:
        return m.stays(look.holds if look else NEXT_LOOK)
    return _BY_KIND[look.verdict.kind](m, look.verdict)


def _ended_invalid(m: Moment) -> Advanced | None:
    """A spoilt experiment ends too, when its units are spent."""
    most = m.spec.analysis.maximum_units
    if most is None or m.look is None or m.look.exposed < most:
        return None
    return m.goes("Ended", f"{m.look.exposed} units without a verdict: {m.record.mismatch}")


def _better(m: Moment, verdict: Verdict) -> Advanced:
    if m.spec.on_win == "nothing":
        return _noted(m, verdict)
    if m.spec.on_win != "promote":
        message = f"{verdict.variant} is better: {verdict.message}"
        return m.goes("AwaitingApproval", message, verdict=verdict)
    if kept := _unfit(m, verdict):
        return m.stays(f"{verdict.variant} is better, but {kept}")
    message = f"everyone gets {verdict.variant}: {verdict.message}"
    return m.goes("Promoting", message, verdict=verdict, everyone=verdict.variant)


def _unfit(m: Moment, verdict: Verdict) -> str:
    """Why the winner cannot be promoted now: it is not there, or no longer what was measured."""
    if verdict.variant in m.facts.unready:
        return "it is not ready to serve"
    if drifted := m.record.drifted(m.facts.pins):
        return f"{', '.join(drifted)} is no longer what was measured"
    return "" if m.facts.synced else "not every replica of the graph serves it yet"


def _worse(m: Moment, verdict: Verdict) -> Advanced:
    """No treatment can win any more."""
    if m.spec.on_win == "nothing":
        return _noted(m, verdict)
    return m.goes("Ended", f"no treatment is better: {verdict.variant} {verdict.message}", verdict=verdict)


def _inconclusive(m: Moment, verdict: Verdict) -> Advanced:
    return m.goes("Ended", verdict.message, verdict=verdict)


def _noted(m: Moment, verdict: Verdict) -> Advanced:
    """It goes on; what was found once is said once, and stays found."""
    known = m.record.verdict
    if known and (known.kind, known.variant) == (verdict.kind, verdict.variant):
        return m.stays("a decision of a person")
    message = f"{verdict.variant} is {verdict.kind.lower()}: {verdict.message}"
    return m.goes("Running", message, verdict=verdict, revision=m.record.revision)


def _kept(m: Moment, _: Verdict) -> Advanced:
    """A mismatch and a broken guardrail were dealt with before."""
    return m.stays("")


_BY_KIND = {
    "Better": _better,
    "Worse": _worse,
    "Inconclusive": _inconclusive,
    "Invalid": _kept,
    "GuardrailBreached": _kept,
}
