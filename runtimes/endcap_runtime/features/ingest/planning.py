# SPDX-License-Identifier: Apache-2.0
"""From entries of the stream to updates, and from their outcomes to letters and counts. Pure."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from endcap_runtime.features.experiments.measured import Measured
from endcap_runtime.features.experiments.measured import Outcome as Measurement
from endcap_runtime.features.ingest.cloudevents import Unreadable, event_of
from endcap_runtime.features.ingest.compiled import Compiled
from endcap_runtime.features.ingest.streams import Entry, Letter
from endcap_runtime.features.layout import Event, InvalidEntity, InvalidEvent, Update, View
from endcap_runtime.features.store import Outcome
from endcap_runtime.features.store.counts import field_of
from endcap_runtime.wire.faults import Malformed
from endcap_runtime.wire.json_columns import loads

log = logging.getLogger("endcap.ingest")

LONGEST_WAIT_MS = 7 * 24 * 3600 * 1000
_REFUSALS = {
    Outcome.LATE: "it arrived later than the lateness of the view allows: raise source.stream.lateness, then replay",
    Outcome.FUTURE: "its time is more than 60 s after its arrival: set the clock of its producer",
}

_OUTCOME_REFUSALS = {
    "LATE": "it arrived more than an hour after it happened: outcomes are counted for an hour",
    "FUTURE": _REFUSALS[Outcome.FUTURE],
}


class Task(NamedTuple):
    """One update that an entry asks of a view."""

    entry: Entry
    view: View
    update: Update


Done = tuple[Task, Outcome]


class Counting(NamedTuple):
    """What an entry is to one unit of one experiment; `reader` says of whom a letter of it is."""

    entry: Entry
    reader: str
    outcome: Measurement


Counted = tuple[Counting, tuple[str, ...]]


@dataclass(slots=True)
class Plan:
    """What a batch asks for: updates, outcomes, and what is refused before Redis is asked."""

    tasks: list[Task] = field(default_factory=list)
    countings: list[Counting] = field(default_factory=list)
    letters: list[Letter] = field(default_factory=list)


def plan(compiled: Compiled, entries: Iterable[Entry], now_ms: int, unit_key: bytes = b"") -> Plan:
    """Never fails for what an entry holds: whatever cannot be read becomes a letter."""
    made = Plan()
    for entry in entries:
        try:
            _plan_entry(compiled, entry, now_ms, unit_key, made)
        except Exception:
            # One poisonous entry must not hold up those behind it for good.
            log.exception("An event could not be planned", extra={"entry": entry.id.decode()})
            made.letters.append(Letter(entry, "invalid", "it could not be read: see the log of ingest", ""))
    return made


def _plan_entry(compiled: Compiled, entry: Entry, now_ms: int, unit_key: bytes, made: Plan) -> None:
    if now_ms - entry.arrival_ms > LONGEST_WAIT_MS:
        made.letters.append(Letter(entry, "expired", "it waited for more than a week", entry.view))
        return
    try:
        event = event_of(loads(entry.event or b"null"))
    except (Unreadable, Malformed) as error:
        made.letters.append(Letter(entry, "invalid", str(error), entry.view))
        return
    readers = [view for view in compiled.readers.get(event.type, ()) if entry.view in ("", view.name)]
    experiments = [
        measured for measured in compiled.measuring.get(event.type, ()) if entry.view in ("", measured.name)
    ]
    if not readers and not experiments:
        message = f"no view reads events of the type {event.type} any more"
        made.letters.append(Letter(entry, "invalid", message, entry.view))
    for view in readers:
        _plan_update(entry, event, view, made)
    for measured in experiments:
        _plan_outcomes(entry, event, measured, unit_key, made)


def _plan_update(entry: Entry, event: Event, view: View, made: Plan) -> None:
    try:
        update = view.updates(event, entry.arrival_ms)
    except (InvalidEvent, InvalidEntity) as error:
        made.letters.append(Letter(entry, "invalid", str(error), view.name))
        return
    if update is not None:
        made.tasks.append(Task(entry, view, update))


def _plan_outcomes(entry: Entry, event: Event, measured: Measured, unit_key: bytes, made: Plan) -> None:
    try:
        outcomes = list(measured.outcomes(event, entry.arrival_ms, unit_key))
    except InvalidEvent as error:
        made.letters.append(Letter(entry, "invalid", str(error), measured.name))
        return
    made.countings += [Counting(entry, measured.name, outcome) for outcome in outcomes]


def words_of(answer: Sequence[bytes]) -> tuple[str, ...]:
    return tuple(word.decode() for word in answer)


def outcome_letters(counted: Iterable[Counted]) -> list[Letter]:
    """The letters of the outcomes that came too late or too early."""
    return [
        Letter(counting.entry, words[0].lower(), _OUTCOME_REFUSALS[words[0]], counting.reader)
        for counting, words in counted
        if words[0] in _OUTCOME_REFUSALS
    ]


def outcome_labels(counted: Iterable[Counted]) -> Iterator[tuple[str, str, str]]:
    """Experiment, metric and what became of it, for each metric of each outcome."""
    for (_, _, outcome), words in counted:
        each = words if len(words) == len(outcome.metrics) else words * len(outcome.metrics)
        # A ratio may have both of its parts of one event: that is one outcome.
        for metric, word in dict.fromkeys(zip(outcome.metrics, each, strict=True)):
            yield outcome.experiment, metric, word.lower()


def letters_of(done: Iterable[Done]) -> list[Letter]:
    """The letters of the updates that Redis refused."""
    return [
        Letter(task.entry, outcome.lower(), _REFUSALS[outcome], task.view.name)
        for task, outcome in done
        if outcome in _REFUSALS
    ]


def counted(
    compiled: Compiled, done: Iterable[Done], letters: Iterable[Letter], now_ms: int
) -> dict[str, dict[str, int]]:
    """What is added to the counts of each view, by its field in the hash."""
    words = Counter((task.view.name, outcome.lower()) for task, outcome in done)
    words.update((letter.view, "invalid") for letter in letters if letter.reason == "invalid")
    counts: dict[str, dict[str, int]] = {}
    for (name, word), count in words.items():
        if view := compiled.views.get(name):
            added = counts.setdefault(field_of(view), {})
            added[word] = count
            if word == "applied":
                added["updated_ms"] = now_ms
    return counts


def fed(views: Mapping[str, View]) -> dict[str, dict[str, int]]:
    """Counts that add nothing, but begin to be kept."""
    return {field_of(view): {} for view in views.values()}
