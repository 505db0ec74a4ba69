# SPDX-License-Identifier: Apache-2.0
"""The course of an experiment: from what has been decided to what is decided next, one step at a time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from endcap_api.v1alpha1.experiment import ExperimentSpec
from endcap_operator.analysis.look import Look
from endcap_operator.plan.experiment.record import Entry, Pin, Record


@dataclass(frozen=True)
class Facts:
    """What the operator knows of the world.

    id: of the experiment. problems: why it is not accepted; the graph then serves nothing of it, and it stands still.
    pins: by variant, what its model serves now (of the baseline: the model of the step as the graph has it); a
    variant that names no model, or whose model is not known, is not in it. unready: variants whose model is not ready,
    or whose graph is not. synced: every ready replica of the graph serves the record's revision.
    named: the variants that do the step just as the graph now has it written.
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


def advance(
    spec: ExperimentSpec, record: Record | None, facts: Facts, look: Look | None, now_ms: int
) -> Advanced:
    """The next record: at most one transition, so it is to be called again while the record changes.

    Pure and repeatable: when a write was lost, the same record gives the same next one, but for its times.
    A record of None is a new experiment; one that is gone is first `recovered`.
    """
    raise NotImplementedError
