# SPDX-License-Identifier: Apache-2.0
"""Commands, and the functions of one library: who finds them missing loads them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from endcap_runtime.features.store.faults import StoreUnavailable, unavailable
from endcap_runtime.features.store.library import Library
from endcap_runtime.features.store.redis import FAILURES


class Calls:
    """Every call raises StoreUnavailable."""

    def __init__(self, client: Any, library: Library) -> None:
        self._client, self._library = client, library

    async def command(self, *command: Any) -> Any:
        try:
            return await self._client.execute_command(*command)
        except FAILURES as error:
            raise unavailable(error) from error

    async def function(self, name: str, keys: Sequence[bytes], *arguments: Any) -> Any:
        """The answer of a function of the library; the keys share a slot."""
        call = ("FCALL", self._library.function(name), len(keys), *keys, *arguments)
        try:
            return await self.command(*call)
        except StoreUnavailable as error:
            if "Function not found" not in error.message:
                raise
        await self._load()
        return await self.command(*call)

    async def _load(self) -> None:
        try:
            await self._client.function_load(self._library.code, replace=True)
        except FAILURES as error:
            raise unavailable(error) from error
