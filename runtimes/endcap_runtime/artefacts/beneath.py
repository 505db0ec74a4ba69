# SPDX-License-Identifier: Apache-2.0
"""Opens a file beneath a folder that somebody else writes to, such as a claim, and never outside of it.

Each component is opened relative to the descriptor of the folder before, without following links; links are
read and walked by hand, so they may point about within the folder but not out of it, and nobody can swap a
folder for a link between a check and its use.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import BinaryIO

from endcap_runtime.artefacts.errors import ArtefactError, invalid, not_found, refused

_MAX_LINKS = 16
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


@contextmanager
def open_beneath(root: Path, relative: str) -> Iterator[BinaryIO]:
    """A regular file below `root`; ArtefactRefused when the path or a link on it leaves `root`."""
    parts = _parts(relative)
    with ExitStack() as stack:
        try:
            descriptor = _walk(root, parts, stack)
        except OSError as error:
            raise _explained(error, relative) from None
        yield stack.enter_context(os.fdopen(descriptor, "rb"))


def _parts(relative: str) -> list[str]:
    parts = relative.split("/")
    if not relative.isprintable() or "\\" in relative or any(part in {"", ".", ".."} for part in parts):
        raise refused(f"the path {relative!r} must be relative, without empty, '.' or '..' segments")
    return parts


def _walk(root: Path, parts: list[str], stack: ExitStack) -> int:
    """The descriptor of the file that `parts` lead to, opened component by component."""
    folders = [_keep(os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC), stack)]
    todo, links = list(reversed(parts)), 0
    while todo:
        part = todo.pop()
        if part == "..":
            folders = _up(folders)
        elif (target := _link(part, folders[-1])) is not None:
            links += 1
            todo.extend(_steps(target, links))
        elif todo:
            folders.append(_keep(os.open(part, _FOLDER, dir_fd=folders[-1]), stack))
        else:
            return _regular(part, folders[-1])
    raise invalid(
        "the path leads to a folder: an artefact is one file, pack the folder with `endcap model push`"
    )


def _keep(descriptor: int, stack: ExitStack) -> int:
    stack.callback(os.close, descriptor)
    return descriptor


def _up(folders: list[int]) -> list[int]:
    if len(folders) == 1:
        raise refused("the path leads out of its folder through a symbolic link")
    return folders[:-1]


def _link(part: str, folder: int) -> str | None:
    """What a symbolic link says, or None if it is none."""
    mode = os.stat(part, dir_fd=folder, follow_symlinks=False).st_mode
    return os.readlink(part, dir_fd=folder) if stat.S_ISLNK(mode) else None


def _steps(target: str, links: int) -> list[str]:
    """The components of a link's target, last first, for the walk to take."""
    if target.startswith("/") or links > _MAX_LINKS:
        raise refused("the path leads out of its folder, or in a circle, through a symbolic link")
    return [part for part in reversed(target.split("/")) if part not in {"", "."}]


def _regular(part: str, folder: int) -> int:
    descriptor = os.open(part, _FILE, dir_fd=folder)
    mode = os.fstat(descriptor).st_mode
    if stat.S_ISREG(mode):
        return descriptor
    os.close(descriptor)
    what = "a folder: pack it with `endcap model push`" if stat.S_ISDIR(mode) else "not a regular file"
    raise invalid(f"the path leads to {what}")


def _explained(error: OSError, relative: str) -> ArtefactError:
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        return not_found(f"there is no file {relative!r}")
    return refused(f"the file {relative!r} cannot be read: {error.strerror}")
