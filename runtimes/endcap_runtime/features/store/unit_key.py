# SPDX-License-Identifier: Apache-2.0
"""The key by which units are hidden: a mounted Secret, read again when it changes."""

from __future__ import annotations

from pathlib import Path

from endcap_runtime.mounted import signature

FILE = "unitKey"
SHORTEST = 16


class NoUnitKey(Exception):
    """Units cannot be hidden, so nothing of an experiment can be taken; the message says what is missing."""


class UnitKey:
    """`folder` is ENDCAP_UNIT_KEY_DIR."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / FILE
        self._seen: object = None
        self._key = b""

    def read(self) -> bytes:
        """The key; the one of before, while the file is not there. Raises NoUnitKey."""
        try:
            if (now := signature(self._file)) != self._seen:
                self._key, self._seen = self._sound(self._file.read_bytes().strip()), now
        except OSError as error:
            if not self._key:
                told = f"the file {FILE} is not there ({error.strerror}): create the Secret that holds it"
                raise NoUnitKey(told) from error
        return self._key

    @staticmethod
    def _sound(key: bytes) -> bytes:
        if len(key) < SHORTEST:
            raise NoUnitKey(f"{FILE} has {len(key)} bytes: give it at least {SHORTEST} random ones")
        return key
