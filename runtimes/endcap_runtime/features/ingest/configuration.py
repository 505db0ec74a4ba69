# SPDX-License-Identifier: Apache-2.0
"""Hot reload of features.json: compiled beside the one in use, which stays when the new one is refused."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path

import orjson

from endcap_runtime.asgi import Response
from endcap_runtime.features.ingest.compiled import Compiled, compile_features
from endcap_runtime.features.lookup.loading import WANTED, Refused, Rejected, Watched, failed
from endcap_runtime.features.store.unit_key import NoUnitKey

log = logging.getLogger("endcap.ingest")

POLL_SECONDS = 0.2

Change = Callable[[Compiled], Awaitable[None]]


class Configuration:
    """Follows `directory`; `changed` is awaited with each new revision before it is reported as served."""

    def __init__(self, directory: Path, changed: Change) -> None:
        self._file, self._changed = directory / WANTED, changed
        self._watched = Watched(self._file)
        self._served: str | None = None
        self._rejected: Rejected | None = None

    async def follow(self) -> None:
        """Runs until it is cancelled."""
        while True:
            if self._watched.due():
                await self._take()
            await asyncio.sleep(POLL_SECONDS)

    async def _take(self) -> None:
        try:
            compiled = await asyncio.to_thread(lambda: compile_features(self._file.read_bytes()))
            await self._changed(compiled)
        except Refused as refused:
            self._rejected = refused.rejected
            log.error("Revision refused", extra=self._rejected.told)  # noqa: TRY400 (the reason says all)
        except NoUnitKey as missing:
            self._rejected = failed(missing)
            log.error("Units cannot be hidden", extra={"detail": str(missing)})  # noqa: TRY400 (it says all)
            self._watched.later()
        except Exception as error:
            # A fault of ours must not end the watch: the next revision may be the remedy, or a moment's patience.
            log.exception("The configuration could not be taken")
            self._rejected = failed(error)
            self._watched.later()
        else:
            self._served, self._rejected = compiled.revision, None
            log.info("Serving", extra={"revision": compiled.revision})

    def report(self) -> Response:
        """The page that the operator reads."""
        rejected = self._rejected and self._rejected._asdict()
        return Response(200, orjson.dumps({"serving": self._served, "rejected": rejected}))
