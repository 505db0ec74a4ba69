# SPDX-License-Identifier: Apache-2.0
"""What an archive may hold: plain files and folders with honest names, in bounded number and size.

The rules are ours rather than tarfile's or zipfile's: their extractors have been talked into writing through
links more than once, so nothing here ever creates a link, and a name is admitted once.
"""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from endcap_runtime.artefacts.errors import refused, too_large
from endcap_runtime.artefacts.policy import Limits

RESERVED = ".endcap"
_DEEPEST = 32
_LONGEST_PART = 255
_REMEDY = "pack the folder with `endcap model push`"


class Entries:
    """Admits the names of an archive one by one and remembers them."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._count = 0
        self._kinds: dict[str, tuple[str, bool]] = {}

    def admit(self, name: str, *, folder: bool, mode: int) -> PurePosixPath:
        """The entry's path below the root; ArtefactRefused for a dangerous name, owner bits or a repetition."""
        self._count += 1
        if self._count > self._limits.entries:
            raise too_large(f"the archive has more than {self._limits.entries} entries")
        if mode & 0o6000:
            raise refused(f"the archive's entry {name!r} is set-user-id or set-group-id: {_REMEDY}")
        parts = _parts(name)
        for depth in range(1, len(parts)):
            self._claim(parts[:depth], folder=True)
        self._claim(parts, folder=folder)
        return PurePosixPath(*parts)

    def _claim(self, parts: list[str], *, folder: bool) -> None:
        """Take a path, unless the archive has it already as something else or in another spelling."""
        path = "/".join(parts)
        folded = unicodedata.normalize("NFKC", path).casefold()
        known = self._kinds.get(folded)
        if known is None:
            self._kinds[folded] = (path, folder)
        elif known != (path, folder) or not folder:
            message = (
                f"the archive has {path!r} twice, or as {known[0]!r}, which some systems take for the same"
            )
            raise refused(message)


def _parts(name: str) -> list[str]:
    """The components of an entry's name; none for the root itself."""
    parts = [part for part in name.split("/") if part not in {"", "."}]
    if _is_dangerous(name) or ".." in parts or len(parts) > _DEEPEST:
        raise refused(f"the archive's entry {name!r} would leave its folder or hides something: {_REMEDY}")
    if any(len(part.encode()) > _LONGEST_PART for part in parts) or (parts and parts[0].startswith(RESERVED)):
        raise refused(
            f"the archive's entry {name!r} is too long or begins with {RESERVED!r}, which is reserved"
        )
    return parts


def _is_dangerous(name: str) -> bool:
    """Absolute on some system, or with characters that read as something else than they are."""
    return name.startswith("/") or "\\" in name or name[1:2] == ":" or not name.isprintable()


class Budget:
    """Counts what comes out of an archive, against a limit and against what went in."""

    def __init__(self, packed_bytes: int, limits: Limits) -> None:
        self._packed = max(packed_bytes, 1)
        self._limits = limits
        self._spent = 0

    def spend(self, size: int) -> None:
        """ArtefactTooLarge once the archive yields too much, or out of all proportion to its own size."""
        self._spent += size
        limits = self._limits
        if self._spent > limits.extracted_bytes:
            raise too_large(f"the archive holds more than {limits.extracted_bytes} bytes")
        if self._spent > limits.ratio_from_bytes and self._spent > self._packed * limits.ratio:
            raise too_large(f"the archive grows more than {limits.ratio}-fold, as a decompression bomb does")


def write_new(path: Path, pieces: Iterable[bytes]) -> None:
    """Write a file that must not exist yet, readable by all and executable by none."""
    path.parent.mkdir(parents=True, exist_ok=True)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    with os.fdopen(os.open(path, flags, 0o644), "wb") as file:
        for piece in pieces:
            file.write(piece)
