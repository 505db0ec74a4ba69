# SPDX-License-Identifier: Apache-2.0
"""The verdict in words that need no statistics. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from endcap_cli.experiment.standing import Standing

ANY_LOOK = "however often one looks"


def sentence(standing: Standing) -> str:
    """What has been found out, or why nothing has; one or two sentences."""
    accepted = standing.condition("Accepted")
    if not standing.status:
        return "Nobody has looked at it yet. Is the operator running?"
    if standing.phase in _ENDS:
        return _ENDS[standing.phase](standing)
    if accepted.get("status") == "False":
        return f"It is not accepted and {_stands(standing)}: {accepted.get('message', '')}"
    if standing.mismatch:
        return MISMATCH
    if standing.spec.mode == "shadow":
        return "A shadow: everyone gets the baseline, and the others are only compared with it."
    return f"{_BEFORE.get(standing.phase, '')}{_VERDICTS.get(standing.verdict[0], _none_yet)(standing)}"


def _stands(standing: Standing) -> str:
    """Who was in one that has begun is served as before."""
    return "takes no traffic" if standing.phase == "Pending" else "stands still, with the traffic that it had"


MISMATCH = (
    "No verdict, now or later: the units that were exposed do not fit the weights, so some are lost and the others "
    "no longer compare. Find out which (do variants fail, do exposures arrive?), then create another Experiment."
)
_BEFORE: Mapping[str, str] = {
    "Pending": "It has not begun. ",
    "Paused": "It is paused: everyone gets the baseline. ",
    "Promoting": "It is over, and everyone gets the winner. ",
    "AwaitingApproval": "It waits for a person: endcap experiment promote. ",
}


def _promoted(standing: Standing) -> str:
    winner = standing.verdict[1] or "The winner"
    return f"{winner} is promoted: the graph names it itself now, and the experiment takes no traffic."


def _because(words: str) -> Callable[[Standing], str]:
    def told(standing: Standing) -> str:
        history = list(standing.status.get("history") or ())
        why = str(history[-1]["message"]).rstrip(".") if history else ""
        return f"{words}: {why}." if why else f"{words}."

    return told


_ENDS: Mapping[str, Callable[[Standing], str]] = {
    "Promoted": _promoted,
    "RolledBack": _because("A guardrail was breached, and everyone has the baseline again"),
    "Aborted": _because("It was aborted, and everyone has the baseline again"),
    "Ended": _because("It ended without a winner, and everyone has the baseline again"),
}


def _better(standing: Standing) -> str:
    return f"{_which(standing)} is better: {_figure(standing)}. {_confidence(standing)}"


def _worse(standing: Standing) -> str:
    return f"{_which(standing)} is worse: {_figure(standing)}. {_confidence(standing)}"


def _inconclusive(standing: Standing) -> str:
    limit = standing.spec.analysis.maximum_units
    after = f"after {limit:,} units" if limit else "so far"
    return f"No variant is better, and none is worse {after}: {_figure(standing)}."


def _breached(standing: Standing) -> str:
    return f"A guardrail is breached by {_which(standing)}: everyone gets the baseline."


def _none_yet(standing: Standing) -> str:
    units, enough = standing.status.get("units"), standing.spec.analysis.minimum_units
    if standing.primary is None:
        return "No metric is measured, so there is no verdict; only guardrails are watched."
    if standing.holds:
        return f"No verdict yet: {standing.holds.rstrip('.')}."
    if units is None:
        return "No verdict yet: there are no figures."
    if units < enough:
        return f"No verdict yet: {units:,} of at least {enough:,} units."
    if standing.status.get("primary"):
        return f"No verdict yet: the lift may still be 0. {_figure(standing)}."
    return f"No verdict yet, with {units:,} units."


_VERDICTS: Mapping[str, Callable[[Standing], str]] = {
    "Better": _better,
    "Worse": _worse,
    "Inconclusive": _inconclusive,
    "Invalid": lambda _: MISMATCH,
    "GuardrailBreached": _breached,
}


def _which(standing: Standing) -> str:
    return standing.verdict[1] or "a variant"


def _figure(standing: Standing) -> str:
    return f"{standing.spec.primary} {standing.status.get('primary') or 'has no figure'}"


def _confidence(standing: Standing) -> str:
    share = 100 * (1 - standing.spec.analysis.alpha)
    return f"The true lift is in this interval with {share:g}% confidence, {ANY_LOOK}."
