# SPDX-License-Identifier: Apache-2.0
"""The plan for an Experiment: what is decided next goes into its record first, and from there everywhere.

Each reconciliation makes at most one step of the course; the write of the record asks for the next one at once. So a
crash at any point repeats a step, and never does one by halves.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import ValidationError

from endcap_api.v1alpha1.experiment import ExperimentSpec
from endcap_api.v1alpha1.status import ExperimentStatus
from endcap_operator.analysis.look import Look
from endcap_operator.analysis.looking import Seen, look_at
from endcap_operator.manifests.configuration import RECORD, SERIES, config_map
from endcap_operator.plan.configuration import READ_BACK_SECONDS, data_of
from endcap_operator.plan.experiment.beginning import recovered
from endcap_operator.plan.experiment.conditions import Course
from endcap_operator.plan.experiment.course import Advanced, advance
from endcap_operator.plan.experiment.promotion import graph_patch
from endcap_operator.plan.experiment.record import Record, read_record, text_of
from endcap_operator.plan.experiment.series import appended
from endcap_operator.plan.experiment.situation import Situation, is_synced
from endcap_operator.plan.experiment.status import decided, experiment_status
from endcap_operator.plan.facts import Observed, Plan, Reading, Resource, Told

LOOKED_AT = frozenset(("Ramping", "Running", "AwaitingApproval"))


def plan_experiment(resource: Resource, spec: ExperimentSpec, observed: Observed) -> Plan:
    """For an experiment whose ConfigMap's name is free."""
    data = data_of(observed.child(resource.identity, "ConfigMap"))
    situation = Situation(resource, spec, observed, None)
    kept = read_record(data.get(RECORD), situation.id)
    before = kept or _recovered(situation)
    situation = Situation(resource, spec, observed, before)
    look = _look(situation)
    advanced = advance(spec, before, situation.facts(), look, observed.now_ms)
    course = Course(situation, advanced)
    return Plan(
        status=experiment_status(course),
        manifests=(config_map(resource.identity, _data(data, spec, advanced.record, look)),),
        patch=graph_patch(situation, advanced.record) if spec.promotion == "patch" else None,
        recheck=None if _is_settled(situation, advanced.record) else READ_BACK_SECONDS,
        due=_due(observed, advanced),
        events=tuple(_events(situation, kept, advanced)),
    )


def _recovered(situation: Situation) -> Record | None:
    """The record of one that has begun, when someone deleted or spoilt it."""
    said = situation.observed.measured.status
    if not said.get("phase"):
        return None
    try:
        status = ExperimentStatus.model_validate({k: v for k, v in said.items() if k != "conditions"})
    except ValidationError:
        status = None
    return recovered(situation.name, situation.spec, situation.id, status, situation.observed.now_ms)


def _look(situation: Situation) -> Look | None:
    reading, record = situation.observed.measured.reading, situation.record
    if reading is None or record is None or record.phase not in LOOKED_AT:
        return None
    return look_at(situation.spec, record.epochs, _seen(situation, reading), situation.observed.now_ms)


def _seen(situation: Situation, reading: Reading) -> Seen:
    pages = [page.experiments[situation.name] for page in reading.pages if situation.name in page.experiments]
    before = situation.record.look if situation.record else None
    return Seen(reading.sums, pages, before).of(situation.id)


def _data(data: Mapping[str, str], spec: ExperimentSpec, record: Record, look: Look | None) -> dict[str, str]:
    before = data.get(SERIES)
    series = appended(before, look, record.coverage, spec.primary) if look else before
    return {RECORD: text_of(record), **({SERIES: series} if series else {})}


def _is_settled(situation: Situation, record: Record) -> bool:
    """Whether there is nothing that pods are still to be asked for; without pods they are asked when there are some."""
    routers = situation.routers
    if record.phase == "Pending" or situation.problems or situation.conflict:
        return situation.observed.measured.counted
    return not routers or is_synced(situation.name, record, routers)


def _due(observed: Observed, advanced: Advanced) -> float | None:
    """Seconds until the next look, or until time alone moves it on."""
    looks = observed.measured.look_in if advanced.record.routed else None
    moves = max(0.0, (advanced.due_ms - observed.now_ms) / 1000) if advanced.due_ms is not None else None
    return min((each for each in (looks, moves) if each is not None), default=None)


def _events(situation: Situation, kept: Record | None, advanced: Advanced) -> Iterator[Told]:
    yield from (
        Told(entry.phase, entry.message, warning=entry.phase == "RolledBack")
        for entry in advanced.transitions
    )
    if kept is None and situation.record is not None:
        note = f"record.json was deleted or spoilt by someone, and is made again: revision {advanced.record.revision}."
        yield Told("RecordRestored", note, warning=True)
    elif kept is not None and (edited := _edited(situation, kept)):
        yield Told(
            "StatusRestored",
            f"{', '.join(edited)} was edited by someone, and is written again.",
            warning=True,
        )


def _edited(situation: Situation, record: Record) -> list[str]:
    """Fields of the status that nobody but the operator decides, and that it did not write so.

    A status that lags is none that was edited: its write comes after that of the record.
    """
    said: Mapping[str, Any] = situation.observed.measured.status
    if said.get("revision", 0) < record.revision or len(said.get("history") or ()) < len(record.history):
        return [] if said.get("salt") in (None, decided(record)["salt"]) else ["status.salt"]
    buckets = {v["name"]: v.get("buckets") for v in said.get("variants") or ()}
    wrong = [f"status.{name}" for name, value in decided(record).items() if said.get(name) != value]
    return [*wrong, *(["status.variants"] if buckets != record.ranges else [])]
