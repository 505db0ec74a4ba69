# SPDX-License-Identifier: Apache-2.0
"""Packs a folder into the same bytes every time, so that a digest names contents and not an afternoon.

Names are sorted; times, owners and modes are fixed; what Python and editors leave behind is left out.
"""

from __future__ import annotations

import gzip
import stat
import tarfile
from collections.abc import Iterator
from pathlib import Path

_LEFT_OUT = {"__pycache__", ".git", ".ipynb_checkpoints", ".DS_Store"}
_LEVEL = 6


class PackingError(Exception):
    """Something that cannot be part of an artefact; the message names it and the remedy."""


def pack(path: Path, target: Path) -> Path:
    """Write the folder's contents, or the one file, as a .tar.gz at `target`, and return `target`.

    The same contents give the same bytes with the same zlib. Left out: `__pycache__`, `*.pyc`, `.git`,
    `.ipynb_checkpoints`, `.DS_Store`. PackingError for links, pipes and the like, and for nothing to pack.
    """
    files = list(_files(path))
    if not files:
        raise PackingError(f"{path} holds no files to pack")
    with (
        target.open("wb") as raw,
        gzip.GzipFile(filename="", mode="wb", compresslevel=_LEVEL, fileobj=raw, mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as archive,
    ):
        for name, file in files:
            _add(archive, name, file)
    return target


def _files(path: Path) -> Iterator[tuple[str, Path]]:
    """Names in the archive and the files they stand for, in the order of the names."""
    if not path.is_dir():
        yield path.name, _plain(path)
        return
    found = ((file.relative_to(path), file) for file in path.rglob("*"))
    for relative, file in sorted(found, key=lambda pair: pair[0].as_posix()):
        if not _is_left_out(relative) and (file.is_symlink() or not file.is_dir()):
            yield relative.as_posix(), _plain(file)


def _is_left_out(relative: Path) -> bool:
    return relative.suffix == ".pyc" or not _LEFT_OUT.isdisjoint(relative.parts)


def _plain(file: Path) -> Path:
    try:
        mode = file.lstat().st_mode
    except FileNotFoundError:
        raise PackingError(f"there is no file or folder {file}") from None
    if not stat.S_ISREG(mode):
        raise PackingError(f"{file} is not a plain file: artefacts hold no links, replace it by its contents")
    return file


def _add(archive: tarfile.TarFile, name: str, file: Path) -> None:
    entry = tarfile.TarInfo(name)
    with file.open("rb") as content:
        entry.size, entry.mode, entry.mtime = file.stat().st_size, 0o644, 0
        archive.addfile(entry, content)
