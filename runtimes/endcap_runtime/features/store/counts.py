# SPDX-License-Identifier: Apache-2.0
"""What is counted of each view of a store, whoever writes it: it says whether the view is fed, and how fresh it is.

The key lies in the slot of the stream of events, so that ingest settles a batch and counts it in one step.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources import files

import orjson

from endcap_runtime.features.layout import View
from endcap_runtime.features.store.calls import Calls
from endcap_runtime.features.store.library import library_of
from endcap_runtime.features.store.redis import FeatureRedis

TEXT = (files(__package__) / "counts.lua").read_text(encoding="utf-8")
_LIBRARY = library_of(TEXT + "redis.register_function('endcap_count_VERSION', count)\n")

Added = Mapping[str, Mapping[str, int]]


def field_of(view: View) -> str:
    """Where the counts of a view are kept; a changed view begins anew."""
    return f"{view.name}@{view.digest}"


def arguments_of(added: Added) -> list[str | bytes]:
    """As the functions take them: a field and what is added to it, by turns."""
    return [part for field, each in added.items() for part in (field, orjson.dumps(each))]


class Counts:
    """Every call raises StoreUnavailable; `prefix` begins the keys of the store."""

    def __init__(self, redis: FeatureRedis, prefix: str) -> None:
        self._calls = Calls(redis.client, _LIBRARY)
        self.key = f"{prefix}:views{{{prefix}:events}}".encode()

    async def add(self, added: Added) -> None:
        """To what there is, by field; `updated_ms` becomes the newest, and a new field begins to be fed now."""
        if added:
            await self._calls.function("count", [self.key], *arguments_of(added))

    async def all(self) -> dict[str, dict[str, int]]:
        """By field."""
        stored = await self._calls.command("HGETALL", self.key)
        pairs = stored.items() if isinstance(stored, dict) else zip(stored[::2], stored[1::2], strict=True)
        return {field.decode(): orjson.loads(value) for field, value in pairs}
