# SPDX-License-Identifier: Apache-2.0
"""Files of events: one CloudEvent as a JSON object a line, and what can be done to their times."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from endcap_cli.terminal import CommandError

STANDARD_INPUT = "-"


@dataclass(frozen=True)
class Line:
    """A line of a file, by its number from 1; `event` is None where it is no JSON object, and `fault` says why."""

    file: str
    number: int
    event: dict[str, Any] | None
    fault: str = ""

    @property
    def place(self) -> str:
        return f"{self.file}:{self.number}"


def read(file: str) -> Iterator[Line]:
    """The lines that are not blank; raises CommandError for a file that cannot be read."""
    name = "standard input" if file == STANDARD_INPUT else file
    try:
        for number, text in enumerate(_texts(file), start=1):
            if text.strip():
                yield _line(name, number, text)
    except OSError as error:
        raise CommandError(f"{name}: {error.strerror}: give a file of events, one as JSON a line") from None


def _texts(file: str) -> Iterator[bytes]:
    if file == STANDARD_INPUT:
        yield from sys.stdin.buffer
        return
    with Path(file).open("rb") as stream:
        yield from stream


def _line(name: str, number: int, text: bytes) -> Line:
    try:
        event = json.loads(text)
        _sendable(event)
    except ValueError as error:
        return Line(name, number, None, f"is no JSON: {error}")
    except RecursionError:
        return Line(name, number, None, "is no JSON that can be read: it is nested too deeply")
    if not isinstance(event, dict):
        return Line(name, number, None, "is no JSON object: write one CloudEvent a line")
    return Line(name, number, event)


def _sendable(event: Any) -> None:
    """Raises ValueError for what Python reads and JSON has not: NaN, Infinity and half a character.

    Such a line makes the whole request unreadable, and the store could not say whose fault it is.
    """
    json.dumps(event, allow_nan=False, ensure_ascii=False).encode()


def time_of(event: dict[str, Any]) -> datetime | None:
    """The event's time, where it has one that can be read: RFC 3339, with its zone."""
    try:
        found = datetime.fromisoformat(str(event["time"]))
    except (KeyError, ValueError):
        return None
    return found if found.tzinfo else None


def at(event: dict[str, Any], when: datetime) -> dict[str, Any]:
    """The event, happening at another time."""
    shown = when.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return {**event, "time": shown}


def latest(lines: Iterable[Line]) -> datetime:
    """The time of the last event to happen; raises CommandError where none has a time."""
    times = (time_of(line.event) for line in lines if line.event)
    newest = max((time for time in times if time), default=None)
    if newest is None:
        raise CommandError("no event has a time that can be read: write it as 2026-11-24T10:00:00Z")
    return newest


def shifted(lines: Iterable[Line], by: timedelta) -> Iterator[Line]:
    """All times moved by one amount; an event whose time cannot be read stays as it is, for the store to refuse."""
    for line in lines:
        time = time_of(line.event) if line.event else None
        yield Line(line.file, line.number, at(line.event, time + by)) if line.event and time else line


def by_time(lines: Sequence[Line]) -> list[tuple[datetime, Line]]:
    """Those whose time can be read, in the order of time; of equal times in that of the file."""
    timed = [(time_of(line.event), line) for line in lines if line.event]
    return sorted(((time, line) for time, line in timed if time), key=lambda pair: pair[0])
