# SPDX-License-Identifier: Apache-2.0
"""Unpacks .tar.gz: tarfile reads the headers, our own rules decide, our own code writes."""

from __future__ import annotations

import gzip
import io
import tarfile
import zlib
from collections.abc import Iterator
from pathlib import Path

from endcap_runtime.artefacts.entries import Budget, Entries, write_new
from endcap_runtime.artefacts.errors import invalid, refused
from endcap_runtime.artefacts.policy import Limits

_PIECE = 64 * 1024
_LONGEST_HEADER = 16 * 1024
_BROKEN = (tarfile.TarError, zlib.error, EOFError, gzip.BadGzipFile, ValueError, OverflowError)


class _Forward(io.RawIOBase):
    """The unpacked stream as tarfile may read it: only forwards, in small pieces, and all of it counted.

    tarfile reads extended headers whole, however long they claim to be, and follows negative sizes back to
    where it came from; both end here.
    """

    def __init__(self, stream: gzip.GzipFile, budget: Budget) -> None:
        super().__init__()
        self._stream = stream
        self._budget = budget
        self._position = 0

    def read(self, size: int = -1, /) -> bytes:
        if not 0 <= size <= _PIECE:
            raise invalid("the archive has a header of absurd length")
        data = self._stream.read(size)
        self._position += len(data)
        self._budget.spend(len(data))
        return data

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        if whence != io.SEEK_SET or offset < self._position:
            raise invalid("the archive points back into itself")
        while self._position < offset and self.read(min(_PIECE, offset - self._position)):
            pass
        return self._position

    def tell(self) -> int:
        return self._position


def extract_tar(packed: Path, root: Path, limits: Limits) -> None:
    """Unpack into the empty folder `root`; ArtefactError for anything but plain files and folders."""
    budget = Budget(packed.stat().st_size, limits)
    try:
        with gzip.open(packed) as unpacked:
            stream = _Forward(unpacked, budget)
            with tarfile.open(fileobj=stream, mode="r:", encoding="utf-8", errors="strict") as archive:
                _extract(archive, root, Entries(limits))
            while stream.read(_PIECE):
                pass
    except _BROKEN as error:
        raise invalid(f"the archive cannot be read as .tar.gz: {error}") from error


def _extract(archive: tarfile.TarFile, root: Path, entries: Entries) -> None:
    for member in archive:
        _refuse_special(member)
        target = root / entries.admit(member.name, folder=member.isdir(), mode=member.mode)
        if member.isdir():
            target.mkdir(parents=True, exist_ok=True)
        else:
            write_new(target, _pieces(archive, member))


def _refuse_special(member: tarfile.TarInfo) -> None:
    """Only plain files and folders: no links of either kind, devices, pipes or files with holes."""
    if member.size < 0:
        raise invalid(f"the archive's entry {member.name!r} has a negative size")
    plain = member.type in {tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.DIRTYPE}
    if not plain or member.issparse():
        what = "a link" if member.issym() or member.islnk() else "neither a plain file nor a folder"
        raise refused(
            f"the archive's entry {member.name!r} is {what}: pack the folder with `endcap model push`"
        )


def _pieces(archive: tarfile.TarFile, member: tarfile.TarInfo) -> Iterator[bytes]:
    file = archive.extractfile(member)
    if file is None:
        raise invalid(f"the archive's entry {member.name!r} has no content")
    left = member.size
    while left > 0:
        piece = file.read(min(_PIECE, left))
        if not piece:
            raise invalid(f"the archive ends in the middle of {member.name!r}")
        left -= len(piece)
        yield piece
