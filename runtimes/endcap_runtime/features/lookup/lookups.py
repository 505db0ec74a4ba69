# SPDX-License-Identifier: Apache-2.0
"""Lookups of several bundles at once: one read a store, then each bundle from its states."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from endcap_runtime.features.layout import View
from endcap_runtime.features.lookup.bundles import Bundle
from endcap_runtime.features.lookup.evaluations import Evaluations
from endcap_runtime.features.lookup.found import Found, Read
from endcap_runtime.features.lookup.metrics import LookupMetrics
from endcap_runtime.features.lookup.source import Source


class StoreRequired(Exception):
    """The store of a required bundle cannot be asked."""

    def __init__(self, bundle: str) -> None:
        super().__init__(f"The store behind the bundle {bundle} cannot be asked, and the bundle is required.")
        self.bundle = bundle


class Wanted(NamedTuple):
    """A bundle for N entities: the keys of each of its parts."""

    bundle: Bundle
    keys: Sequence[Sequence[bytes]]


class Lookups:
    """`sources` by the digest of their configuration; whoever opens stores changes it."""

    def __init__(self, metrics: LookupMetrics) -> None:
        self.sources: Mapping[str, Source] = {}
        self.metrics = metrics
        self._evaluations = Evaluations()

    def now_ms(self, store: str) -> int:
        """The clock of a store, by the digest of its configuration."""
        return self.sources[store].now_ms

    async def look_up(self, wanted: Sequence[Wanted], deadline: float) -> list[Found]:
        """What is found by `deadline` (time.monotonic()). Raises StoreRequired; nothing else of the store's."""
        parts = [
            (part.store, part.view, keys)
            for each in wanted
            for part, keys in zip(each.bundle.parts, each.keys, strict=True)
        ]
        reads = await self._read(parts, deadline)
        self._refuse_required(wanted, reads)
        waiting = [self._evaluations.of(view, r) for (_, view, _), r in zip(parts, reads, strict=True)]
        evaluated = [await each for each in waiting]
        start, found = 0, []
        for each in wanted:
            end = start + len(each.bundle.parts)
            found.append(each.bundle.assembled(reads[start:end], evaluated[start:end]))
            self.metrics.served(each.bundle.name, found[-1].statuses)
            start = end
        return found

    def _refuse_required(self, wanted: Sequence[Wanted], reads: Sequence[Read]) -> None:
        start = 0
        for each in wanted:
            end = start + len(each.bundle.parts)
            if each.bundle.contract.required and any(read.unread is not None for read in reads[start:end]):
                self.metrics.looked_up(each.bundle.name, "required")
                raise StoreRequired(each.bundle.name)
            start = end

    async def _read(self, parts: Sequence[tuple[str, View, Sequence[bytes]]], deadline: float) -> list[Read]:
        stores = dict.fromkeys(store for store, _, _ in parts)
        if len(stores) == 1:
            return await self.sources[parts[0][0]].read([(v, keys) for _, v, keys in parts], deadline)
        places = {store: [i for i, part in enumerate(parts) if part[0] == store] for store in stores}
        each = await asyncio.gather(
            *(self.sources[s].read([parts[i][1:] for i in where], deadline) for s, where in places.items())
        )
        by_place = {
            i: read
            for where, got in zip(places.values(), each, strict=True)
            for i, read in zip(where, got, strict=True)
        }
        return [by_place[i] for i in range(len(parts))]
