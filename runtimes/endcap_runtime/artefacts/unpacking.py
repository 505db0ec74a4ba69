# SPDX-License-Identifier: Apache-2.0
"""From a fetched file to the contents of an artefact's folder, by the file's name."""

from __future__ import annotations

from pathlib import Path

from endcap_runtime.artefacts.errors import invalid
from endcap_runtime.artefacts.pickles import refuse_pickles
from endcap_runtime.artefacts.policy import Limits, Source
from endcap_runtime.artefacts.tarballs import extract_tar
from endcap_runtime.artefacts.zips import check_zip, extract_zip

_TARBALLS = (".tar.gz", ".tgz")
_ZIPS = (".zip",)
_SKOPS = ".skops"


def is_archive(name: str) -> bool:
    """Whether a file of this name is unpacked."""
    return name.endswith(_TARBALLS + _ZIPS)


def unpack(packed: Path, contents: Path, name: str, source: Source, limits: Limits) -> Path:
    """Fill the new folder `contents` from `packed`, which is moved or read; return `contents`."""
    contents.mkdir()
    if name.endswith(_TARBALLS):
        extract_tar(packed, contents, limits)
    elif name.endswith(_ZIPS):
        extract_zip(packed, contents, limits)
    else:
        packed.rename(contents / name)
    _check_containers(contents, limits)
    if not source.allow_pickle:
        refuse_pickles(contents, limits)
    return contents


def _check_containers(contents: Path, limits: Limits) -> None:
    """A .skops file is a zip that skops reads into memory: it is held to the rules of archives."""
    for path in sorted(contents.rglob(f"*{_SKOPS}")):
        if "schema.json" not in check_zip(path, limits):
            raise invalid(f"{path.name!r} is not a skops file: it has no schema.json")
