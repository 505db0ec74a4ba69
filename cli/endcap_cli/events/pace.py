# SPDX-License-Identifier: Apache-2.0
"""When events are sent: at once, at a rate, or at the pace at which they once happened."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta

from endcap_cli.events.file import Line, at, by_time, time_of

LARGEST_BATCH = 500
LARGEST_BYTES = 512 * 1024
TICK_SECONDS = 0.2  # so short that a person sees a replay flow, so long that a batch is worth a request


def batches(lines: Iterable[Line], largest: int = LARGEST_BATCH) -> Iterator[list[Line]]:
    """In order, each small enough for one request; an event larger than that is a batch of its own."""
    batch: list[Line] = []
    size = 0
    for line in lines:
        length = len(json.dumps(line.event))
        if batch and (len(batch) >= largest or size + length > LARGEST_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(line)
        size += length
    if batch:
        yield batch


def at_rate(lines: Iterable[Line], rate: float) -> Iterator[list[Line]]:
    """Batches, each given out when the ones before it have taken their time."""
    largest = max(1, min(LARGEST_BATCH, round(rate * TICK_SECONDS)))
    begun, sent = time.monotonic(), 0
    for batch in batches(lines, largest):
        _sleep_until(begun + sent / rate)
        sent += len(batch)
        yield batch


def as_it_happened(lines: Sequence[Line], speed: float) -> Iterator[list[Line]]:
    """In the order of time and at its pace, `speed` times as fast; each event happens when it is sent.

    First come those whose time cannot be read, as they are: the store refuses them, and says why.
    """
    yield from batches(line for line in lines if not (line.event and time_of(line.event)))
    timed = by_time(lines)
    if not timed:
        return
    first, begun, start = timed[0][0], time.monotonic(), datetime.now(UTC)
    due = [((when - first).total_seconds() / speed, line) for when, line in timed]
    while due:
        _sleep_until(begun + due[0][0])
        horizon = time.monotonic() - begun + TICK_SECONDS / 2
        ready = [
            Line(line.file, line.number, at(line.event or {}, start + timedelta(seconds=seconds)))
            for seconds, line in due
            if seconds <= horizon
        ]
        due = due[len(ready) :]
        yield from batches(ready)


def _sleep_until(moment: float) -> None:
    time.sleep(max(0.0, moment - time.monotonic()))
