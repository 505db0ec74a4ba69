# SPDX-License-Identifier: Apache-2.0
"""A shopper population: requests at a fixed rate, each answer kept, none of them retried.

The rate is kept whatever the answers take (an open loop), so that a server that stalls is not given a rest.
"""

from __future__ import annotations

import asyncio
import json
import threading
import time
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

import aiohttp

TIMEOUT_SECONDS = 10


@dataclass(frozen=True)
class Answer:
    """`status` is 0 when there was none; `failure` says why."""

    at: float
    seconds: float
    status: int
    body: dict[str, Any] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)
    failure: str = ""

    @property
    def ok(self) -> bool:
        return self.status == 200


class Load:
    """Use as a context: requests are sent until it ends."""

    def __init__(self, url: str, request: dict[str, Any], rate: float) -> None:
        self.url, self.request, self.rate = url, request, rate
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
                group.create_task(self._ask(session))
                due += 1 / self.rate
                await asyncio.sleep(max(0.0, due - time.monotonic()))

    async def _ask(self, session: aiohttp.ClientSession) -> None:
        begun = time.monotonic()
        try:
            async with session.post(self.url, json=self.request) as response:
                text = await response.read()
                taken = time.monotonic() - begun
                body, headers = json.loads(text), dict(response.headers)
                self.answers.append(Answer(begun, taken, response.status, body, headers))
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            taken = time.monotonic() - begun
            self.answers.append(Answer(begun, taken, 0, failure=f"{type(error).__name__}: {error}"))


def ask(url: str, request: dict[str, Any]) -> Answer:
    """One request and its answer."""

    async def once() -> Answer:
        load = Load(url, request, 1)
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=TIMEOUT_SECONDS)) as session:
            await load._ask(session)
        return load.answers[0]

    return asyncio.run(once())
