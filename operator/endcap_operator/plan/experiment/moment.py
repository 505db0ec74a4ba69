# SPDX-License-Identifier: Apache-2.0
"""What each step of the course is decided from, and how what was decided is written down."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from endcap_api.v1alpha1.experiment import ExperimentSpec
from endcap_api.v1alpha1.status import Phase
from endcap_operator.analysis.look import Look
from endcap_operator.plan.experiment.record import FINAL, MOST_ENTRIES, Entry, Pin, Record

_LONGEST = 512
NEXT_LOOK = "the next look"


@dataclass(frozen=True)
class Facts:
    """What the operator knows of the world.

    id: of the experiment. problems: why it is not accepted; it then stands still, and one that has begun is served on.
    pins: by variant, what its model serves now (of the baseline: the model of the step as the graph has it); a
    variant that names no model, or whose model is not known, is not in it. unready: variants whose model is not ready
    or not known, and all of them while the graph is not. synced: every ready replica of the graph serves the record's
    revision. named: the variants that do the step just as the graph now has it written.
    """

    name: str
    id: str
    problems: tuple[str, ...] = ()
    pins: Mapping[str, Pin] = field(default_factory=dict)
    unready: tuple[str, ...] = ()
    synced: bool = False
    named: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Advanced:
    """record: what is decided now. transitions: what is new in its history, for Events. waits: what it waits for, for
    a person. due_ms: when time alone may move it on; None: never.
    """

    record: Record
    transitions: tuple[Entry, ...] = ()
    waits: str = ""
    due_ms: int | None = None


@dataclass(frozen=True)
class Moment:
    """look: of now, or None. The last one is in the record, for words alone: nothing is concluded from it."""

    spec: ExperimentSpec
    record: Record
    facts: Facts
    look: Look | None
    now_ms: int

    def of(self, record: Record) -> Moment:
        return replace(self, record=record)

    def stays(self, waits: str, due_ms: int | None = None) -> Advanced:
        return Advanced(self.record, waits=waits, due_ms=due_ms)

    def becomes(self, **changes: Any) -> Advanced:
        return Advanced(self.record.model_copy(update=changes))

    def goes(self, phase: Phase, message: str, **changes: Any) -> Advanced:
        """To a phase, or on in the same one; what the graph is told of it is another revision."""
        before = self.record
        entry = Entry(time_ms=self.now_ms, phase=phase, message=message[:_LONGEST])
        update = {
            "phase": phase,
            "revision": before.revision if phase in FINAL else before.revision + 1,
            "since_ms": before.since_ms if phase == before.phase else self.now_ms,
            "history": [*before.history, entry][-MOST_ENTRIES:],
            **changes,
        }
        return Advanced(before.model_copy(update=update), (entry,))


def covering(m: Moment, coverage: int) -> dict[str, Any]:
    """What changes in a record whose coverage does; its epoch goes on, for the ratio is the same."""
    number = str(m.record.epoch)
    epoch = m.record.epochs[number]
    served = sorted({*epoch.coverages, coverage})
    epochs = {**m.record.epochs, number: epoch.model_copy(update={"coverages": served})}
    return {"coverage": coverage, "coverage_since_ms": m.now_ms, "epochs": epochs}
