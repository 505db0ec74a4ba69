# SPDX-License-Identifier: Apache-2.0
"""The function library in Redis: its text, and its names, which change with the text."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from importlib.resources import files


@dataclass(frozen=True)
class Library:
    """`version` is 8 hexadecimal digits of the text."""

    text: str
    version: str

    def function(self, name: str) -> bytes:
        return f"endcap_{name}_{self.version}".encode()

    @property
    def code(self) -> str:
        """What FUNCTION LOAD takes."""
        return f"#!lua name=endcap_{self.version}\n" + self.text.replace("VERSION", self.version)


def library_of(text: str) -> Library:
    return Library(text, sha256(text.encode()).hexdigest()[:8])


_PARTS = ("library.lua", "experiments.lua")  # one library, since outcomes are refused as events are
LIBRARY = library_of("".join((files(__package__) / part).read_text(encoding="utf-8") for part in _PARTS))
