# SPDX-License-Identifier: Apache-2.0
"""Hot reload: features.json is watched, and a new revision takes over between two requests.

The last two revisions stay usable, so that a graph which is a moment behind, or ahead, is never without its bundles;
and so do the features of the graph's last good revision, which a pod serves that starts beside a bad one. A digest that
none of them knows makes the directory be read at once: the kubelet may have brought the file this very moment.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from endcap_runtime.features.lookup import Bundle, Compiled
from endcap_runtime.features.lookup.loading import WANTED, Refused, Rejected, Watched, compiled_of, failed

log = logging.getLogger("endcap.features")

LAST_GOOD = "last-good-features.json"
_POLL_SECONDS = 0.2
_MOST_KEPT = 2

Taken = Callable[[list[Compiled]], Awaitable[None]]


class Configuration:
    """The revisions in use, the newest first; `taken` is awaited with them before a new one serves."""

    def __init__(self, directory: Path, taken: Taken) -> None:
        self._file, self._good, self._taken = directory / WANTED, directory / LAST_GOOD, taken
        self._watched = Watched(self._file)
        self._lock = asyncio.Lock()
        self._newest: list[Compiled] = []
        self.revisions: list[Compiled] = []
        self.serving = asyncio.Event()
        self.rejected: Rejected | None = None

    async def follow(self) -> None:
        """Runs until it is cancelled."""
        while True:
            await self.refresh()
            await asyncio.sleep(_POLL_SECONDS)

    async def refresh(self) -> None:
        """Reads the directory now, where it changed since it was last read."""
        async with self._lock:
            if self._watched.due():
                await self._take()

    async def _take(self) -> None:
        try:
            compiled = await asyncio.to_thread(_load, self._file)
            await self._accept(compiled, await self._last_good())
            self.rejected = None
        except Refused as refused:
            self.rejected = refused.rejected
            log.error("Revision refused", extra=self.rejected.told)  # noqa: TRY400 (the reason says all)
        except Exception as error:
            # A fault of ours must not end the watch: the next revision may be the remedy, or a moment's patience.
            log.exception("The configuration could not be taken")
            self.rejected = failed(error)
            self._watched.later()

    async def _last_good(self) -> list[Compiled]:
        """At most one; that it cannot be read is no reason to refuse the newest."""
        if not self._good.exists():
            return []
        try:
            return [await asyncio.to_thread(_load, self._good)]
        except Refused as refused:
            log.warning("The last good features are refused", extra=refused.rejected.told)
            return []

    async def _accept(self, compiled: Compiled, good: Sequence[Compiled]) -> None:
        newest = [compiled, *(c for c in self._newest if c.revision != compiled.revision)][:_MOST_KEPT]
        revisions = [*newest, *(c for c in good if c.revision not in {each.revision for each in newest})]
        if [c.revision for c in revisions] != [c.revision for c in self.revisions]:
            await self._taken(revisions)
            self._newest, self.revisions = newest, revisions
            self.serving.set()
            log.info("Serving", extra={"revision": compiled.revision})

    async def bundle(self, name: str, digest: str | None) -> Bundle | None:
        """The newest bundle of that name, or of that name and digest."""
        found = self._known(name, digest)
        if found is None:
            await self.refresh()
            found = self._known(name, digest)
        return found

    def _known(self, name: str, digest: str | None) -> Bundle | None:
        for compiled in self.revisions:
            bundle = compiled.bundles.get(name)
            if bundle is not None and digest in (None, bundle.digest):
                return bundle
        return None

    @property
    def known(self) -> Mapping[str, list[str]]:
        """The digests of each bundle that can be asked for, the newest first."""
        known: dict[str, list[str]] = {}
        for compiled in self.revisions:
            for name, bundle in compiled.bundles.items():
                known.setdefault(name, []).append(bundle.digest)
        return known

    @property
    def refusal(self) -> dict[str, Any] | None:
        """Why the newest revision is not served, as pages tell it."""
        return self.rejected and self.rejected._asdict()

    def hint(self, name: str) -> str:
        """The bundle that may have been meant, as a sentence."""
        nearest = self.revisions[0].nearest(name) if self.revisions else None
        return f" Did you mean {nearest}?" if nearest else ""

    @property
    def digests(self) -> Mapping[str, str]:
        """Of the newest revision, by name."""
        newest = self.revisions[0].bundles if self.revisions else {}
        return {name: bundle.digest for name, bundle in newest.items()}


def _load(file: Path) -> Compiled:
    """Blocks; ready for the first request. Raises Refused, and OSError, which may pass."""
    compiled = compiled_of(file.read_bytes())
    compiled.warm()
    return compiled
