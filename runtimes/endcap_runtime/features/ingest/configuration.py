# SPDX-License-Identifier: Apache-2.0
"""Hot reload of features.json: compiled beside the one in use, which stays when the new one is refused."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path

import orjson

from endcap_runtime.asgi import Response
from endcap_runtime.features.ingest.compiled import Compiled, Refused, compile_features

log = logging.getLogger("endcap.ingest")

WANTED = "features.json"
POLL_SECONDS = 0.2

Change = Callable[[Compiled], Awaitable[None]]


class Configuration:
    """Follows `directory`; `changed` is awaited with each new revision before it is reported as served."""

    def __init__(self, directory: Path, changed: Change) -> None:
        self._file, self._changed = directory / WANTED, changed
        self._served: str | None = None
        self._rejected: dict[str, str | None] | None = None

    async def follow(self) -> None:
        """Runs until it is cancelled."""
        seen: object = None
        while True:
            now = self._signature()
            if now is not None and now != seen:
                seen = now
                await self._take()
            await asyncio.sleep(POLL_SECONDS)

    def _signature(self) -> object:
        """What changes when the kubelet swaps the directory behind its `..data` link, or somebody writes the file."""
        try:
            status = self._file.stat()
        except FileNotFoundError:
            return None
        return status.st_dev, status.st_ino, status.st_mtime_ns, status.st_size

    async def _take(self) -> None:
        try:
            compiled = await asyncio.to_thread(lambda: compile_features(self._file.read_bytes()))
            await self._changed(compiled)
        except Refused as refused:
            self._reject(refused)
        except Exception:
            # A fault of ours must not end the watch: the next revision may be the remedy.
            log.exception("The configuration could not be taken")
        else:
            self._served, self._rejected = compiled.revision, None
            log.info("Serving", extra={"revision": compiled.revision})

    def _reject(self, refused: Refused) -> None:
        told = {"revision": refused.revision, "reason": refused.reason}
        self._rejected = {**told, "message": refused.message}
        log.error("Revision refused", extra={**told, "detail": refused.message})

    def report(self) -> Response:
        """The page that the operator reads."""
        return Response(200, orjson.dumps({"serving": self._served, "rejected": self._rejected}))
