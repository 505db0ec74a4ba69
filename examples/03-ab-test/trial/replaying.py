# SPDX-License-Identifier: Apache-2.0
"""Replays visits against a graph and its store: asks as a shop would, and tells what came of it.

The visits of a household are asked one after the other, in the order in which they happened, so its first is its first.
"""

import asyncio
import json
import re
import time
import zlib
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any

import aiohttp

from trial.outcomes import Event, Told, Visit
from trial.tally import Tally

AT_ONCE = 8
BATCH = 200
BATCH_SECONDS = 0.5
PROGRESS_SECONDS = 2.0
ASK_SECONDS = 10.0
TRIES = 5
KIND = {"content-type": "application/cloudevents-batch+json"}
TYPE = re.compile(r"events\[(\d+)\]\.type")  # as the store names what is wrong
WAIT_STATUSES = (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE)


class ReplayFailed(Exception):
    """The store did not take events."""


@dataclass(frozen=True)
class Places:
    """Where to ask, e.g. http://127.0.0.1:8080/last-call, and where the store takes events, without a path."""

    graph: str
    store: str


@dataclass
class Replay:
    """One run over some visits; `say` tells how far it is.

    unread: types of events that no metric of the experiment reads, so that the store refuses them: they stay here.
    """

    places: Places
    told: Told
    tally: Tally
    say: Callable[[str], None]
    unread: set[str] = field(default_factory=set)

    async def run(self, visits: Sequence[Visit]) -> None:
        """Ask for each visit once; what fails is counted and not asked again. Raises ReplayFailed."""
        lanes: list[list[Visit]] = [[] for _ in range(AT_ONCE)]
        for visit in visits:
            lanes[zlib.crc32(visit.household.encode()) % AT_ONCE].append(visit)
        waiting: asyncio.Queue[Event | None] = asyncio.Queue()
        timeout = aiohttp.ClientTimeout(total=ASK_SECONDS)
        async with aiohttp.ClientSession(timeout=timeout) as http, asyncio.TaskGroup() as group:
            group.create_task(self._deliver(http, waiting))
            watch = group.create_task(self._tell())
            asked = [asyncio.create_task(self._walk(http, lane, waiting)) for lane in lanes]
            await asyncio.gather(*asked)
            await waiting.put(None)
            watch.cancel()

    async def _walk(
        self, http: aiohttp.ClientSession, lane: Sequence[Visit], waiting: "asyncio.Queue[Event | None]"
    ) -> None:
        for visit in lane:
            try:
                async with http.post(self.places.graph, json=visit.request) as response:
                    answer = await response.json(content_type=None)
                    response.raise_for_status()
            except (aiohttp.ClientError, TimeoutError, ValueError) as error:
                self.tally.failed.append(f"basket {visit.basket}: {error!r}")
                continue
            events = self.told.of(visit, answer, datetime.now(UTC))
            self.tally.count(visit, answer, events)
            for event in events:
                waiting.put_nowait(event)

    async def _deliver(self, http: aiohttp.ClientSession, waiting: "asyncio.Queue[Event | None]") -> None:
        """In batches, until the end is in the queue."""
        ended = False
        while not ended:
            batch, ended = await _batch(waiting)
            if batch:
                await _insist(lambda batch=batch: self._send(http, batch))  # type: ignore[misc]

    async def _send(self, http: aiohttp.ClientSession, batch: Sequence[Event]) -> float | None:
        """Seconds to wait before it is sent again; None: it was taken."""
        events = [event for event in batch if event["type"] not in self.unread]
        if not events:
            return None
        body = json.dumps(events)
        async with http.post(f"{self.places.store}/v1/events", data=body, headers=KIND) as answer:
            if answer.status in WAIT_STATUSES:
                return float(answer.headers.get("retry-after", "1"))
            if answer.status == HTTPStatus.ACCEPTED:
                return None
            text = await answer.text()
        if answer.status != HTTPStatus.UNPROCESSABLE_ENTITY or not (unread := _unread(text, events)):
            raise ReplayFailed(f"the store said {answer.status}: {text[:500]}")
        self.say(f"no metric reads {', '.join(sorted(unread))}: not sent")
        self.unread |= unread
        return 0.0

    async def _tell(self) -> None:
        begun = time.monotonic()
        while True:
            await asyncio.sleep(PROGRESS_SECONDS)
            self.say(f"{time.monotonic() - begun:5.0f} s  {self.tally.progress()}")


def _unread(refusal: str, events: Sequence[Event]) -> set[str]:
    """The types that a store refused, none where anything else is wrong."""
    try:
        errors: list[dict[str, Any]] = json.loads(refusal)["errors"]
    except (ValueError, LookupError):
        return set()
    found = [TYPE.fullmatch(each["field"]) for each in errors]
    return {events[int(one[1])]["type"] for one in found if one} if all(found) else set()


async def _batch(waiting: "asyncio.Queue[Event | None]") -> tuple[list[Event], bool]:
    """What has come, after a moment for more; and whether it was the last."""
    batch: list[Event] = []
    event = await waiting.get()
    until = time.monotonic() + BATCH_SECONDS
    while event is not None:
        batch.append(event)
        if len(batch) >= BATCH:
            return batch, False
        try:
            event = await asyncio.wait_for(waiting.get(), max(0.0, until - time.monotonic()))
        except TimeoutError:
            return batch, False
    return batch, True


async def _insist(send: Callable[[], Awaitable[float | None]]) -> None:
    for _ in range(TRIES):
        try:
            wait = await send()
        except (aiohttp.ClientError, TimeoutError):
            wait = 1.0
        if wait is None:
            return
        await asyncio.sleep(wait)
    raise ReplayFailed(f"the store took no events in {TRIES} tries: is its address right?")
