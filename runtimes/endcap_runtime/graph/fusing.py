# SPDX-License-Identifier: Apache-2.0
"""Which features steps are asked together, and when: decided once, so that a request asks the sidecar once.

All steps are looked up with the candidates, when there are features of candidates at all: the call is the same, and
only longer. But what a model, a recall or the key of another lookup reads has to be there before; then the features of
the request go first, beside the models, and there are two calls.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import NamedTuple

from endcap_api.v1alpha1.steps import Step
from endcap_api.wiring import forms, looks_up_candidates

Reads = Mapping[str, Collection[str]]


class Group(NamedTuple):
    """Features steps that are asked in one call.

    needs: the model steps, and the steps of other groups, that its keys read. before: the step before which it is
    asked, once there are candidates; None when it is asked beside the models.
    """

    steps: tuple[str, ...]
    needs: tuple[str, ...]
    before: str | None = None

    @property
    def name(self) -> str:
        """No step has such a name."""
        return "+".join(self.steps)


def groups_of(steps: Sequence[Step], reads: Reads) -> list[Group]:
    """The calls in order; `reads` are the dotted names that each step reads, a features step for its keys."""
    asked = [step for step in steps if step.features]
    of_candidates = [step for step in asked if looks_up_candidates(step)]
    of_request = [step for step in asked if step not in of_candidates]
    if not _needed_before(steps, of_request, reads):
        return [_together(steps, asked, of_candidates, reads)] if asked else []
    groups = _by_needs(steps, of_request, reads)
    if of_candidates:
        groups.append(_together(steps, of_candidates, of_candidates, reads))
    return groups


def _needed_before(steps: Iterable[Step], of_request: Sequence[Step], reads: Reads) -> bool:
    """Whether something reads features of the request before, or while, candidates are looked up."""
    early = [step for step in steps if forms(step) or step.features]
    return any(steps_read(of_request, reads[step.name]) for step in early)


def _by_needs(steps: Sequence[Step], of_request: Sequence[Step], reads: Reads) -> list[Group]:
    """One group for all that can be asked at the same time, in the order in which they can."""
    by_needs: dict[tuple[str, ...], list[str]] = {}
    for step in of_request:
        by_needs.setdefault(_needs(steps, reads[step.name]), []).append(step.name)
    return [Group(tuple(names), needs) for needs, names in by_needs.items()]


def _together(
    steps: Sequence[Step], asked: Sequence[Step], of_candidates: Sequence[Step], reads: Reads
) -> Group:
    """One call for all of them, with the first of candidates if there are any."""
    found = {need for step in asked for need in _needs(steps, reads[step.name])}
    needs = tuple(step.name for step in steps if step.name in found)
    before = _first_reader(steps, asked, of_candidates[0], reads) if of_candidates else None
    return Group(tuple(step.name for step in asked), needs, before)


def _first_reader(steps: Sequence[Step], asked: Sequence[Step], first: Step, reads: Reads) -> str:
    """The first features step of candidates, or an earlier step that reads what is asked with it."""
    behind = [step for step in steps if not forms(step)]
    return next(step.name for step in behind if step == first or steps_read(asked, reads[step.name]))


def _needs(steps: Sequence[Step], reads: Collection[str]) -> tuple[str, ...]:
    return steps_read([step for step in steps if step.model or step.features], reads)


def steps_read(steps: Iterable[Step], reads: Collection[str]) -> tuple[str, ...]:
    """The model and features steps whose values are read: `intent.name` reads `intent`."""
    heads = {".".join(name.split(".")[:-1]) for name in reads}
    return tuple(step.name for step in steps if _scope(step) in heads)


def _scope(step: Step) -> str:
    return f"candidate.{step.identifier}" if looks_up_candidates(step) else step.identifier
