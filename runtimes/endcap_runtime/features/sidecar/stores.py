# SPDX-License-Identifier: Apache-2.0
"""The stores of the revisions in use: opened once, shared by revisions, closed when none names them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from endcap_api.digest import digest_of
from endcap_api.features_config import StoreConfig
from endcap_runtime.features.layout import View
from endcap_runtime.features.lookup import Compiled, Lookups
from endcap_runtime.features.lookup.source import NearSettings, Source, wait_asked
from endcap_runtime.features.store import FeatureRedis

_FIRST_ANSWER_SECONDS = 2.0


class Stores:
    """Keeps `lookups` at what the revisions need."""

    def __init__(self, lookups: Lookups, secrets: Path, settings: NearSettings) -> None:
        self._lookups, self._secrets, self._settings = lookups, secrets, settings
        self._open: dict[str, Source] = {}

    @property
    def sources(self) -> Mapping[str, Source]:
        return self._open

    async def take(self, revisions: list[Compiled]) -> None:
        """Returns when every new store has answered once, or did not within two seconds."""
        wanted = {digest_of(c.dump()): (name, c) for r in revisions for name, c in r.config.stores.items()}
        for digest in wanted.keys() - self._open.keys():
            self._open[digest] = await self._opened(*wanted[digest])
        for digest, source in self._open.items():
            source.track(_views(digest, revisions))
        self._lookups.sources = self._open
        await wait_asked((self._open[digest] for digest in wanted), _FIRST_ANSWER_SECONDS)
        for digest in self._open.keys() - wanted.keys():
            await self._open.pop(digest).close()

    async def _opened(self, name: str, config: StoreConfig) -> Source:
        redis = await FeatureRedis.open(config, self._secrets)
        source = Source(name, config, redis, self._settings, self._lookups.metrics)
        source.start()
        return source

    async def close(self) -> None:
        for source in self._open.values():
            await source.close()


def _views(store: str, revisions: Iterable[Compiled]) -> list[View]:
    """The views that live in a store."""
    return [
        compiled.views[name]
        for compiled in revisions
        for name, view in compiled.config.views.items()
        if digest_of(compiled.config.stores[view.spec.store].dump()) == store
    ]
