# SPDX-License-Identifier: Apache-2.0
"""Fetches an artefact: nothing is visible in its folder until all of it has been checked.

The order is the point: stream to a hidden file, compare the digest, unpack beside it, look for pickles, and
only then move into place. The marker file is written last, so a folder without it is a folder without an
artefact, whatever else a crash left there.
"""

from __future__ import annotations

import errno
import hashlib
import json
import random
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from endcap_runtime.artefacts.addresses import Resolver, system_addresses
from endcap_runtime.artefacts.download import Client
from endcap_runtime.artefacts.errors import ArtefactError, Reason, too_large, unreachable
from endcap_runtime.artefacts.origins import artefact_name, open_origin
from endcap_runtime.artefacts.policy import Policy, Source
from endcap_runtime.artefacts.transport import Deadline
from endcap_runtime.artefacts.unpacking import is_archive, unpack

MARKER = ".endcap.json"
_STAGING = ".endcap-incoming-"


@dataclass(frozen=True)
class Fetched:
    """An artefact in place: the folder, the file's name in it (None for an unpacked archive), its digest, and
    the size in bytes of what was fetched.
    """

    path: Path
    file: str | None
    sha256: str
    bytes: int

    @property
    def location(self) -> Path:
        """The file, or the folder of an unpacked archive."""
        return self.path / self.file if self.file else self.path


def fetch(source: Source, into: Path, policy: Policy, *, resolve: Resolver = system_addresses) -> Fetched:
    """Fetch an artefact into the folder `into`, or find it there already.

    Blocks; safe to call from any thread, for one `into` at a time. Raises ArtefactError, after which `into`
    holds what it held before.
    """
    name = artefact_name(source.uri)
    with _disk_errors():
        into.mkdir(parents=True, exist_ok=True)
        present = _present(source, name, into)
        if present is not None:
            return present
        with _staging(into) as stage:
            size = _download(source, stage / "packed", policy, resolve)
            contents = unpack(stage / "packed", stage / "contents", name, source, policy.limits)
            fetched = Fetched(into, None if is_archive(name) else name, source.sha256, size)
            _install(contents, fetched, inspected=not source.allow_pickle)
    return fetched


@contextmanager
def _disk_errors() -> Iterator[None]:
    """Say what the disk refuses: room, which the author can ask for, or anything else."""
    try:
        yield
    except OSError as error:
        if error.errno in {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}:
            raise too_large(
                "the pod's disk has no room for the artefact: ask for more, or shrink it"
            ) from error
        raise unreachable(f"the artefact cannot be read or stored: {error.strerror}") from error


def _present(source: Source, name: str, into: Path) -> Fetched | None:
    """What a run before left complete, if it is this artefact under this name and was checked as strictly."""
    try:
        marker = json.loads((into / MARKER).read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return None
    file = None if is_archive(name) else name
    if (marker.get("sha256"), marker.get("file")) != (source.sha256, file):
        return None
    if not (source.allow_pickle or marker.get("inspected")) or (file and not (into / file).is_file()):
        return None
    return Fetched(into, file, source.sha256, int(marker.get("bytes", 0)))


@contextmanager
def _staging(into: Path) -> Iterator[Path]:
    """A hidden folder on the same file system; it and those of crashed runs are gone afterwards."""
    for leftover in into.glob(f"{_STAGING}*"):
        shutil.rmtree(leftover)
    stage = Path(tempfile.mkdtemp(prefix=_STAGING, dir=into))
    try:
        yield stage
    finally:
        shutil.rmtree(stage)


class _Intake:
    """Writes, hashes and bounds what arrives."""

    def __init__(self, file: BinaryIO, most: int) -> None:
        self._file = file
        self._most = most
        self._hash = hashlib.sha256()
        self.size = 0

    def __call__(self, chunk: bytes) -> None:
        self.size += len(chunk)
        if self.size > self._most:
            raise too_large(f"the artefact is larger than the limit of {self._most} bytes")
        self._hash.update(chunk)
        self._file.write(chunk)

    def verify(self, sha256: str) -> int:
        """The size in bytes, if the digest is the wanted one."""
        found = self._hash.hexdigest()
        if found == sha256:
            return self.size
        message = (
            f"the file has SHA-256 {found}, wanted is {sha256}: was it replaced, or is the digest of another?"
        )
        raise ArtefactError(Reason.DIGEST_MISMATCH, message)


def _download(source: Source, target: Path, policy: Policy, resolve: Resolver) -> int:
    """Stream the artefact to `target`, again with growing pauses while its origin is unreachable."""
    limits = policy.limits
    client = Client(limits, Deadline.after(limits.deadline_seconds), resolve, policy.ca_file)
    for attempt in range(1, limits.attempts + 1):
        try:
            return _attempt(source, target, policy, client)
        except ArtefactError as error:
            pause = limits.backoff_seconds * 2 ** (attempt - 1) * random.uniform(0.5, 1.0)  # noqa: S311  (jitter, not a secret)
            if not error.passing or attempt == limits.attempts or client.deadline.left < pause:
                raise
            time.sleep(pause)
    raise AssertionError


def _attempt(source: Source, target: Path, policy: Policy, client: Client) -> int:
    with target.open("wb") as file:
        intake = _Intake(file, policy.limits.packed_bytes)
        open_origin(source, policy, client)(intake)
        return intake.verify(source.sha256)


def _install(contents: Path, fetched: Fetched, *, inspected: bool) -> None:
    """Move everything from `contents` into place; the marker is taken away first and written last."""
    into = fetched.path
    (into / MARKER).unlink(missing_ok=True)
    for old in list(into.iterdir()):
        if not old.name.startswith(_STAGING):
            shutil.rmtree(old) if old.is_dir() and not old.is_symlink() else old.unlink()
    for new in list(contents.iterdir()):
        new.rename(into / new.name)
    record = {"sha256": fetched.sha256, "file": fetched.file, "bytes": fetched.bytes, "inspected": inspected}
    pending = contents / MARKER
    pending.write_text(json.dumps(record), encoding="utf-8")
    pending.rename(into / MARKER)
