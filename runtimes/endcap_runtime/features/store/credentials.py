# SPDX-License-Identifier: Apache-2.0
"""User and password of a store, read again for every connection, so that a rotated Secret needs no restart."""

from __future__ import annotations

from pathlib import Path

from redis.credentials import CredentialProvider


class SecretFolder(CredentialProvider):
    """A mounted Secret: password, and where access is by user, username."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def get_credentials(self) -> tuple[str] | tuple[str, str]:
        """Empty where there is no password: Redis then says what is missing."""
        password = self._read("password")
        username = self._read("username")
        return (username, password) if username else (password,)

    async def get_credentials_async(self) -> tuple[str] | tuple[str, str]:
        """The same: two small files in memory are read at once."""
        return self.get_credentials()

    def _read(self, name: str) -> str:
        path = self._folder / name
        return path.read_text(encoding="utf-8").strip() if path.is_file() else ""
