# SPDX-License-Identifier: Apache-2.0
"""Hot reload: the mounted directory is watched, and a new revision takes over between two requests.

It is compiled beside the one in use, which serves on until the new one is ready, and for good when the new one is
refused. A pod that starts with a bad revision serves the last good one that the operator left beside it.
"""

from __future__ import annotations

import asyncio
import gc
import logging
from dataclasses import dataclass
from pathlib import Path
from time import monotonic, time
from typing import Protocol

from endcap_runtime.graph.loading import Refused
from endcap_runtime.graph.serving import Served, Serving
from endcap_runtime.mounted import signature
from endcap_runtime.server import Lifecycle

log = logging.getLogger("endcap.graph")

WANTED = "graph.json"
LAST_GOOD = "last-good.json"
# Longest wait for the moment at which all replicas begin with a revision, whatever a clock says.
LONGEST_WAIT_SECONDS = 5.0
_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 30.0


class Load(Protocol):
    """Blocks; raises Refused."""

    def __call__(self, text: bytes) -> Served: ...


class Agree(Protocol):
    """Returns once a revision can be served; `first` says that nothing is yet. Raises Refused."""

    async def __call__(self, served: Served, *, first: bool) -> None: ...


@dataclass(slots=True)
class _Retry:
    """When a refusal that may pass is tried again; pauses double."""

    pause: float = _FIRST_PAUSE
    at: float = float("inf")

    def again(self) -> _Retry:
        """The state of the next attempt."""
        return _Retry(min(self.pause * 2, _LONGEST_PAUSE))

    def later(self) -> None:
        self.at = monotonic() + self.pause


class Configuration:
    """Keeps `serving` at the revision that `directory` holds; `poll` is in seconds."""

    def __init__(  # noqa: PLR0913, PLR0917 (what it follows, how it takes it, and whom it tells)
        self,
        directory: Path,
        load: Load,
        agree: Agree,
        serving: Serving,
        lifecycle: Lifecycle,
        poll: float = 0.2,
    ) -> None:
        self._directory, self._load, self._agree = directory, load, agree
        self._serving, self._lifecycle, self._poll = serving, lifecycle, poll
        self._retry = _Retry()

    async def follow(self) -> None:
        """Runs until it is cancelled. A change that comes while a revision loads supersedes it."""
        seen: object = None
        taking: asyncio.Task[None] | None = None
        try:
            while True:
                now = self._signature()
                if now is not None and (now != seen or monotonic() >= self._retry.at):
                    self._retry = self._retry.again() if now == seen else _Retry()
                    seen = now
                    if taking is not None:
                        taking.cancel()
                    taking = asyncio.create_task(self._take())
                await asyncio.sleep(self._poll)
        finally:
            if taking is not None:
                taking.cancel()

    def _signature(self) -> object:
        try:
            return signature(self._directory / WANTED)
        except FileNotFoundError:
            return None

    async def _take(self) -> None:
        try:
            await self._take_wanted()
        except Exception:
            # A fault of ours must not end the watch: the next revision may be the remedy.
            log.exception("The configuration could not be taken")

    async def _take_wanted(self) -> None:
        try:
            served = await self._loaded(WANTED)
            await _moment(served.pipeline.config.activate_at_ms)
            self._accept(served)
            self._serving.rejected = None
        except Refused as refused:
            self._serving.rejected = refused.rejected
            self._log("Revision refused", refused)
            if self._serving.served is None:
                await self._start_with_last_good()

    async def _loaded(self, name: str) -> Served:
        text = await asyncio.to_thread((self._directory / name).read_bytes)
        served = await asyncio.to_thread(self._load, text)
        await self._agree(served, first=self._serving.served is None)
        return served

    def _accept(self, served: Served) -> None:
        first = self._serving.served is None
        self._serving.served = served
        self._lifecycle.loaded = True
        if first:
            gc.collect()
            gc.freeze()  # the catalogue lives as long as the process: no collection needs to walk it
        log.info("Serving", extra={"revision": served.pipeline.revision})

    async def _start_with_last_good(self) -> None:
        if not (self._directory / LAST_GOOD).exists():
            return
        try:
            self._accept(await self._loaded(LAST_GOOD))
        except Refused as refused:
            self._log("The last good revision is refused too", refused)

    def _log(self, event: str, refused: Refused) -> None:
        """Says why, and when the cause may pass, sees to it that it is tried again."""
        rejected = refused.rejected
        told = {"revision": rejected.revision, "reason": rejected.reason, "detail": rejected.message}
        log.error(event, extra=told)
        if refused.passing:
            self._retry.later()


async def _moment(at_ms: int | None) -> None:
    """Until all replicas begin; at once where that has passed."""
    if at_ms is not None:
        await asyncio.sleep(min(max(at_ms / 1000 - time(), 0.0), LONGEST_WAIT_SECONDS))
