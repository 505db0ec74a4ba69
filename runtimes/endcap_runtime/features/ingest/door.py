# SPDX-License-Identifier: Apache-2.0
"""POST /v1/events: all events of a request are sound and wait in Redis, or none of them was taken."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from functools import partial
from typing import Any

import orjson
from prometheus_client import Counter

from endcap_runtime.asgi import Headers, Response
from endcap_runtime.features.ingest.cloudevents import MOST_BYTES, Unreadable, envelopes, event_of
from endcap_runtime.features.ingest.compiled import Compiled, nearest
from endcap_runtime.features.ingest.metrics import IngestMetrics
from endcap_runtime.features.ingest.serving import Serving
from endcap_runtime.features.layout import Event, InvalidEntity, InvalidEvent
from endcap_runtime.features.store import StoreUnavailable
from endcap_runtime.features.store.faults import unavailable
from endcap_runtime.problems import RETRY_SOON, FieldError, Problem
from endcap_runtime.wire.faults import MOST_ERRORS

_BUSY = "As many events wait as may: send these again later."
ANSWER_SECONDS = 2.0  # a producer, and all that wait behind it for a place, hear of a store that stands still
MOST_TYPES = 10
_AWAY = {
    "out_of_memory": "has no memory left: give it more, or keep shorter windows and fewer events",
    "readonly": "takes no writes at present, as while another node takes its place",
    "loading": "is loading its data",
    "disk": "cannot write to its disk",
    "credentials": "does not accept the password of this pod's Secret",
    "permission": "does not let the user of this pod's Secret do this",
    "timeout": "does not answer in time",
}
Accept = Callable[[list[bytes], int], Awaitable[bool]]
_AGAIN = "Send it again later: what was taken already is known by its id and not counted twice."


def away(error: StoreUnavailable) -> Problem:
    """503: in what way the store cannot be asked, as far as an operator can do something about it."""
    return Problem(503, f"The store {_AWAY.get(error.reason, 'cannot be asked')}. {_AGAIN}", (), RETRY_SOON)


class Door:
    """Checks events against CloudEvents and against the views that read them."""

    def __init__(self, metrics: IngestMetrics) -> None:
        self._events = metrics.events

    async def take(
        self, serving: Serving, pairs: Sequence[tuple[bytes, bytes]], headers: Headers, body: bytes
    ) -> Response:
        """202 once Redis has all events. Raises Problem 400, 413, 415, 422, 429 or 503: then it has none."""
        try:
            texts = checked(serving.compiled, envelopes(pairs, headers, body))
        except Problem:
            self._events.labels("refused").inc()
            raise
        await accepted(serving.streams.accept, texts, serving.compiled.store.max_backlog, self._events, _BUSY)
        return Response(202, orjson.dumps({"accepted": len(texts)}))


async def accepted(accept: Accept, texts: list[bytes], most: int, counts: Counter, busy: str) -> None:
    """Lets all of `texts` wait in Redis, where at most `most` may, and counts them by what became of them.

    Raises Problem 429 in the words of `busy`, or 503: then none of them was taken.
    """
    try:
        taken = not texts or await _in_time(accept, texts, most)
    except StoreUnavailable as error:
        counts.labels("unavailable").inc(len(texts))
        raise away(error) from error
    counts.labels("accepted" if taken else "busy").inc(len(texts))
    if not taken:
        raise Problem(429, busy, (), RETRY_SOON)


async def _in_time(accept: Accept, texts: list[bytes], most: int) -> bool:
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            return await accept(texts, most)
    except TimeoutError as error:
        raise unavailable(error) from error


def checked(compiled: Compiled, given: Sequence[Any]) -> list[bytes]:
    """The events as they are kept. Raises Problem 422 with the faults of the first events that have any."""
    texts, faults = [], []
    for index, value in enumerate(given):
        where = f"events[{index}]"
        try:
            texts.append(_sound(compiled, value))
        except Unreadable as error:
            faults += [
                FieldError(f"{where}.{e.field}" if e.field else where, e.message) for e in error.errors
            ]
        if len(faults) >= MOST_ERRORS:
            break
    if faults:
        raise Problem(422, "Nothing was taken: there are events that do not fit.", faults[:MOST_ERRORS])
    return texts


def _sound(compiled: Compiled, value: Any) -> bytes:
    event = event_of(value)
    if faults := list(_faults(compiled, event)):
        raise Unreadable(faults)
    text = orjson.dumps(value)
    if len(text) > MOST_BYTES:
        message = f"has {len(text)} bytes of {MOST_BYTES} allowed: leave out what no feature reads"
        raise Unreadable([FieldError("data", message)])
    return text


def _faults(compiled: Compiled, event: Event) -> Iterator[FieldError]:
    """What the views and experiments that read the event say against it; the same fault of two once."""
    views, experiments = compiled.readers.get(event.type, ()), compiled.measuring.get(event.type, ())
    if not views and not experiments:
        yield FieldError("type", f"no view of this store reads it: {_read_instead(event.type, compiled)}")
        return
    readings: list[Callable[[], object]] = [
        *(partial(view.updates, event, event.time_ms) for view in views),
        *(partial(measured.read, event) for measured in experiments),
    ]
    told = set()
    for read in readings:
        try:
            read()
        except (InvalidEvent, InvalidEntity) as error:
            fault = _fault(error)
            if fault not in told:
                told.add(fault)
                yield fault


def _read_instead(unknown: str, compiled: Compiled) -> str:
    if meant := nearest(unknown, compiled.event_types):
        return f"did you mean {meant}?"
    remedy = "in a feature of a FeatureView or a metric of an Experiment"
    known = sorted(compiled.event_types)
    if not known:
        return f"name it {remedy}"
    more = ", …" if len(known) > MOST_TYPES else ""
    return f"the types that are read are {', '.join(known[:MOST_TYPES])}{more}; name others {remedy}"


def _fault(error: InvalidEvent | InvalidEntity) -> FieldError:
    """A key of an entity is named as the view names it; in an event it lies in the data."""
    inside = error.field if isinstance(error, InvalidEvent) else f"data.{error.field}"
    return FieldError(inside, error.message)
