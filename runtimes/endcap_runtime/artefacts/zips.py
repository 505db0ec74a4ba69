# SPDX-License-Identifier: Apache-2.0
"""Unpacks .zip, and looks over zip containers that stay packed, by the same rules."""

from __future__ import annotations

import errno
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from endcap_runtime.artefacts.entries import Budget, Entries, write_new
from endcap_runtime.artefacts.errors import invalid, refused, too_large
from endcap_runtime.artefacts.policy import Limits

_PIECE = 64 * 1024
_END = struct.Struct("<4s4H2LH")
_END_MARK = b"PK\x05\x06"
_LONGEST_COMMENT = 65_535
_ZIP64_LOCATOR = b"PK\x06\x07"
_DIRECTORY_BYTES_PER_ENTRY = 512
_METHODS = {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}
_BROKEN = (
    zipfile.BadZipFile,
    zlib.error,
    EOFError,
    NotImplementedError,
    RuntimeError,
    ValueError,
    OverflowError,
    IndexError,
    struct.error,
)


def extract_zip(packed: Path, root: Path, limits: Limits) -> None:
    """Unpack into the empty folder `root`; ArtefactError for anything but plain files and folders."""
    budget = Budget(packed.stat().st_size, limits)
    with opened_zip(packed, limits) as archive:
        for member, path in _admitted(archive, limits):
            if member.is_dir():
                (root / path).mkdir(parents=True, exist_ok=True)
            else:
                write_new(root / path, _pieces(archive, member, budget))


def check_zip(packed: Path, limits: Limits) -> list[str]:
    """The names in a container that stays packed, each checked and its declared size counted."""
    budget = Budget(packed.stat().st_size, limits)
    with opened_zip(packed, limits) as archive:
        members = [member for member, _ in _admitted(archive, limits)]
    for member in members:
        budget.spend(member.file_size)
    return [member.filename for member in members]


@contextmanager
def opened_zip(packed: Path, limits: Limits) -> Iterator[zipfile.ZipFile]:
    """A zip whose table of contents is within limits; what is broken in it becomes ArtefactInvalid."""
    _check_directory(packed, limits)
    try:
        with zipfile.ZipFile(packed) as archive:
            yield archive
    except _BROKEN as error:
        raise invalid(f"the archive cannot be read as .zip: {error}") from error
    except OSError as error:
        if error.errno != errno.EINVAL:  # what zipfile's seek to a place before the file's beginning gives
            raise
        raise invalid("the archive cannot be read as .zip: it points outside of itself") from error


def _check_directory(packed: Path, limits: Limits) -> None:
    """Bound the table of contents before zipfile reads all of it into memory."""
    with packed.open("rb") as file:
        size = file.seek(0, 2)
        file.seek(max(0, size - _LONGEST_COMMENT - _END.size - 20))
        tail = file.read()
    at = tail.rfind(_END_MARK)
    if at < 0 or at + _END.size > len(tail):
        raise invalid("the archive cannot be read as .zip: its table of contents is missing")
    directory_bytes = _END.unpack_from(tail, at)[5]
    is_zip64 = tail[max(0, at - 20) : at].startswith(_ZIP64_LOCATOR)
    if is_zip64 or directory_bytes > limits.entries * _DIRECTORY_BYTES_PER_ENTRY:
        message = (
            f"the archive has more than {limits.entries} entries or is a zip64: use .tar.gz for large models"
        )
        raise too_large(message)


def _admitted(archive: zipfile.ZipFile, limits: Limits) -> Iterator[tuple[zipfile.ZipInfo, Path]]:
    entries = Entries(limits)
    for member in archive.infolist():
        mode = member.external_attr >> 16
        _refuse_special(member, mode)
        yield member, Path(entries.admit(member.orig_filename, folder=member.is_dir(), mode=mode))


def _refuse_special(member: zipfile.ZipInfo, mode: int) -> None:
    kind = stat.S_IFMT(mode)
    if kind not in {0, stat.S_IFREG, stat.S_IFDIR}:
        what = "a link" if kind == stat.S_IFLNK else "neither a plain file nor a folder"
        message = (
            f"the archive's entry {member.filename!r} is {what}: pack the folder with `endcap model push`"
        )
        raise refused(message)
    if member.flag_bits & 0x1 or member.compress_type not in _METHODS:
        raise invalid(f"the archive's entry {member.filename!r} is encrypted or not compressed by deflate")


def _pieces(archive: zipfile.ZipFile, member: zipfile.ZipInfo, budget: Budget) -> Iterator[bytes]:
    with archive.open(member) as file:
        while piece := file.read(_PIECE):
            budget.spend(len(piece))
            yield piece
