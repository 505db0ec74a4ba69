# SPDX-License-Identifier: Apache-2.0
"""Refuses files that run code when a framework loads them, by what they hold and not by what they are called.

Looks into what frameworks themselves unwrap: compressed joblib files, zip containers (torch, npz) and numpy
arrays of objects. Names that loaders take for pickles are refused whatever they hold, so that a stream which
this reader cannot follow is never handed to an unpickler.
"""

from __future__ import annotations

import bz2
import lzma
import mmap
import zipfile
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Protocol

from endcap_runtime.artefacts.entries import Budget
from endcap_runtime.artefacts.errors import ArtefactError, Reason
from endcap_runtime.artefacts.opcodes import is_pickle
from endcap_runtime.artefacts.policy import Limits
from endcap_runtime.artefacts.zips import opened_zip

_SUFFIXES = (".pkl", ".pickle", ".joblib", ".dill", ".pt", ".pth", ".ckpt")
_HEAD = 1024 * 1024
_INFLATED = 256 * 1024
_PIECE = 512
_LZMA_MEMORY = 96 * 1024 * 1024
_LZMA = (b"\xfd7zXZ", b"]\x00\x00")
_NESTING = 3


class _Inflater(Protocol):
    @property
    def eof(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, max_length: int, /) -> bytes: ...


def refuse_pickles(folder: Path, limits: Limits) -> None:
    """ArtefactError(PickleRefused) if a file anywhere below `folder` is, or holds, a pickle."""
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        what = pickle_in(path, limits)
        if what is not None:
            raise _refusal(path.relative_to(folder).as_posix(), what)


def _refusal(name: str, what: str) -> ArtefactError:
    message = (
        f"{name!r} {what}, and loading one runs whatever code it holds: save the model as .skops (scikit-learn) "
        "or as LightGBM's own text, or set allowPickle: true if you trust whoever made it"
    )
    return ArtefactError(Reason.PICKLE_REFUSED, message)


def pickle_in(path: Path, limits: Limits) -> str | None:
    """What makes a file a pickle, in words that follow its name, or None."""
    if path.name.lower().endswith(_SUFFIXES):
        return "is named as a pickle"
    size = path.stat().st_size
    if size == 0:
        return None
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        if is_pickle(data, total=size) or _is_wrapped(data[:_HEAD], size):
            return "is a pickle"
    return _in_zip(path, limits)


def _in_zip(path: Path, limits: Limits) -> str | None:
    if not zipfile.is_zipfile(path):
        return None
    try:
        with opened_zip(path, limits) as container:
            budget = Budget(path.stat().st_size, limits)
            return next((f"holds the pickle {name!r}" for name in _pickled_members(container, budget)), None)
    except ArtefactError:
        return "is a zip that cannot be searched for pickles"


def _pickled_members(container: zipfile.ZipFile, budget: Budget) -> Iterator[str]:
    for member in container.infolist():
        if member.filename.lower().endswith(_SUFFIXES):
            yield member.filename
        elif not member.is_dir():
            with container.open(member) as file:
                head = file.read(_HEAD)
            budget.spend(len(head))
            if is_pickle(head, total=member.file_size) or _is_wrapped(head, member.file_size):
                yield member.filename


def _is_wrapped(head: bytes, total: int | None, nesting: int = 0) -> bool:
    """Whether a file that begins with `head` is a pickle in one of the wrappers that loaders take off."""
    if head.startswith(b"\x93NUMPY"):
        return b"O" in head[:256].partition(b"descr")[2].partition(b"fortran")[0]
    if head.startswith((b"ZF0x", b"\x04\x22\x4d\x18")):  # joblib before 0.10, and LZ4, which we cannot undo
        return True
    inner, ended = _inflated(head)
    if not inner:
        return not ended and head.startswith(_LZMA)  # may want more memory than we give it
    if nesting == _NESTING:
        return True
    size = len(inner) if ended and len(head) == total else None
    return is_pickle(inner, total=size) or _is_wrapped(inner, size, nesting + 1)


def _inflated(head: bytes) -> tuple[bytes, bool]:
    """The beginning of what zlib, gzip, bzip2, xz or lzma compressed, and whether that is all of it."""
    make = _inflater(head)
    if make is None:
        return b"", True
    output, rest = bytearray(), head
    try:
        while rest and len(output) < _INFLATED:
            rest = _drain(make(), rest, output)
    except (zlib.error, lzma.LZMAError, OSError, EOFError, ValueError):
        return bytes(output), False
    return bytes(output), len(output) < _INFLATED


def _inflater(head: bytes) -> Callable[[], _Inflater] | None:
    if head.startswith((b"\x1f\x8b", b"x\x01", b"x\x5e", b"x\x9c", b"x\xda")):
        return partial(zlib.decompressobj, 47)
    if head.startswith(b"BZh"):
        return bz2.BZ2Decompressor
    if head.startswith(_LZMA):
        return partial(lzma.LZMADecompressor, memlimit=_LZMA_MEMORY)
    return None


def _drain(stream: _Inflater, data: bytes, output: bytearray) -> bytes:
    """Append what one compressed stream yields, in small pieces so that a broken end hides nothing before it;
    return what follows the stream.
    """
    while not stream.eof and len(output) < _INFLATED:
        piece = stream.decompress(data, _PIECE)
        data = getattr(stream, "unconsumed_tail", b"")
        output += piece
        if not piece and not data:
            break
    return stream.unused_data
