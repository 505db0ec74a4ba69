# SPDX-License-Identifier: Apache-2.0
"""A shopper population: requests at a fixed rate, each answer kept, none of them retried.

The rate is kept whatever the answers take (an open loop), so that a server that stalls is not given a rest.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

import aiohttp

TIMEOUT_SECONDS = 10


@dataclass(frozen=True)
class Answer:
    """`status` is 0 when there was none; `failure` says why. `request`: what was asked."""

    at: float
    seconds: float
    status: int
    body: dict[str, Any] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)
    failure: str = ""
    request: dict[str, Any] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        return self.status == 200


class Load:
    """Use as a context: requests are sent until it ends, one after the other and from the beginning again."""

    def __init__(self, url: str, request: dict[str, Any] | Sequence[dict[str, Any]], rate: float) -> None:
        self.url, self.rate = url, rate
        self._requests = itertools.cycle([request] if isinstance(request, dict) else request)
        self.answers: list[Answer] = []
        self._end = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end.set()
        self._thread.join(timeout=2 * TIMEOUT_SECONDS)

    @property
    def failed(self) -> list[Answer]:
        return [answer for answer in self.answers if not answer.ok]

    def since(self, moment: float) -> list[Answer]:
        """Answers to requests that were sent after a moment of time.monotonic()."""
        return [answer for answer in list(self.answers) if answer.at >= moment]

    async def _run(self) -> None:
        timeout = aiohttp.ClientTimeout(total=TIMEOUT_SECONDS)
        async with aiohttp.ClientSession(timeout=timeout) as session, asyncio.TaskGroup() as group:
            due = time.monotonic()
            while not self._end.is_set():
                group.create_task(self._ask(session, next(self._requests)))
                due += 1 / self.rate
                await asyncio.sleep(max(0.0, due - time.monotonic()))

    async def _ask(self, session: aiohttp.ClientSession, request: dict[str, Any]) -> None:
        begun = time.monotonic()
        try:
            async with session.post(self.url, json=request) as response:
                text = await response.read()
                taken = time.monotonic() - begun
                body, headers = json.loads(text), dict(response.headers)
                self.answers.append(Answer(begun, taken, response.status, body, headers, request=request))
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            taken = time.monotonic() - begun
            self.answers.append(
                Answer(begun, taken, 0, failure=f"{type(error).__name__}: {error}", request=request)
            )


def ask(url: str, request: dict[str, Any]) -> Answer:
    """One request and its answer."""

    async def once() -> Answer:
        load = Load(url, request, 1)
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=TIMEOUT_SECONDS)) as session:
            await load._ask(session, request)
        return load.answers[0]

    return asyncio.run(once())


def ask_all(url: str, requests: Sequence[dict[str, Any]], at_once: int = 16) -> list[Answer]:
    """An answer to each request, in order, so many at once."""

    async def worker(load: Load, session: aiohttp.ClientSession, left: Iterator[dict[str, Any]]) -> None:
        for each in left:
            await load._ask(session, each)

    async def everyone() -> list[Answer]:
        load, left = Load(url, {}, 1), iter(requests)
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=TIMEOUT_SECONDS)) as session:
            await asyncio.gather(*(worker(load, session, left) for _ in range(at_once)))
        return load.answers

    place = {id(each): number for number, each in enumerate(requests)}
    return sorted(asyncio.run(everyone()), key=lambda answer: place[id(answer.request)])
