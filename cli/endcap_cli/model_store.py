# SPDX-License-Identifier: Apache-2.0
"""Versions of models and catalogues: pushed once, never changed, listed with their digests.

What is pushed went through the pods' own fetcher first, so that a pod will not refuse later what a person
could have been told at once.
"""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from endcap_api.runtime_config import version_of
from endcap_api.v1alpha1.modeldeployment import ArtefactUri
from endcap_cli.packing import pack
from endcap_cli.stores import Entry, Store, StoreError, file_digest
from endcap_runtime.artefacts import ArtefactError, Policy, Reason, Source, fetch
from endcap_runtime.artefacts.s3 import bucket_and_key

_TARBALLS = (".tar.gz", ".tgz")
_LIGHTGBM = b"tree\n"


@dataclass(frozen=True)
class Pushed:
    """A version in the store. `created` is False when it was there already, with the same bytes;
    `has_pickle` says that resources need `allowPickle: true` to use it.
    """

    uri: str
    sha256: str
    bytes: int
    created: bool
    has_pickle: bool


@dataclass(frozen=True)
class Version:
    """A version as a listing shows it; `sha256` is None where another tool put it there without its digest."""

    name: str
    version: str
    uri: str
    bytes: int
    sha256: str | None
    modified: datetime


def push(path: Path, uri: str, store: Store) -> Pushed:
    """Store a folder (packed) or a file under `s3://bucket/name/version.suffix`.

    Raises StoreError if the version exists with other bytes, PackingError for what cannot be packed and
    ArtefactError for what a pod would refuse.
    """
    bucket, key = bucket_and_key(_nameable(uri))
    with _as_file(path, uri) as file:
        _refuse_other_text(file, path)
        sha256 = file_digest(file)
        has_pickle = _rehearse(file, sha256)
        created = store.put_new(bucket, key, file, sha256)
        if not created and store.digest(bucket, key) != sha256:
            raise StoreError(
                f"{uri} exists with other contents, and versions never change: choose a new version"
            )
        return Pushed(uri, sha256, file.stat().st_size, created, has_pickle)


def _nameable(uri: str) -> str:
    """The URI, if a resource may name it: a version that none can use is not worth storing."""
    try:
        return TypeAdapter(ArtefactUri).validate_python(uri)
    except ValidationError as error:
        raise StoreError(f"{uri!r} is no URI for a resource: {error.errors()[0]['msg']}") from None


@contextmanager
def _as_file(path: Path, uri: str) -> Iterator[Path]:
    """The file to store, under the name it will have: packed where the URI asks for an archive."""
    name = uri.rpartition("/")[2]
    with tempfile.TemporaryDirectory(prefix="endcap-push-") as scratch:
        staged = Path(scratch) / name
        if name.endswith(_TARBALLS) and not path.name.endswith(_TARBALLS):
            yield pack(path, staged)
        elif path.is_dir():
            raise StoreError(f"{path} is a folder: let the URI end in .tar.gz, it will be packed")
        elif not path.is_file():
            raise StoreError(f"there is no file or folder {path}")
        elif path.suffix != staged.suffix:
            raise StoreError(f"{path} would be stored as {name}: let the URI end in {path.suffix!r}")
        else:
            shutil.copyfile(path, staged)
            yield staged


def _refuse_other_text(file: Path, path: Path) -> None:
    """A single text file can only be a LightGBM model, which the fetcher does not look into."""
    if file.suffix != ".txt":
        return
    with file.open("rb") as content:
        if content.read(len(_LIGHTGBM)) != _LIGHTGBM:
            raise StoreError(
                f"{path} is no LightGBM model as text, which begins with a line `tree`: save it by Booster.save_model"
            )


def _rehearse(file: Path, sha256: str) -> bool:
    """Fetch the file as a pod will; whether it would need `allowPickle`. ArtefactError if it would be refused."""
    with tempfile.TemporaryDirectory(prefix="endcap-rehearsal-") as into:
        policy = Policy(local_store=file.parent)
        try:
            fetch(Source(f"file://{file.name}", sha256), Path(into), policy)
        except ArtefactError as error:
            if error.reason is Reason.PICKLE_REFUSED:
                return True
            raise
    return False


def listing(prefix: str, store: Store) -> list[Version]:
    """The versions below a prefix such as `s3://models/`, by name and then by version, numbers as numbers."""
    bucket, _, start = prefix.removeprefix("s3://").partition("/")
    if not prefix.startswith("s3://") or not bucket:
        raise StoreError(f"{prefix!r} is not a prefix of the form s3://bucket/ or s3://bucket/name/")
    versions = [_version(bucket, entry) for entry in store.entries(bucket, start)]
    return sorted(versions, key=lambda version: (version.name, _natural(version.version)))


def _version(bucket: str, entry: Entry) -> Version:
    uri = f"s3://{bucket}/{entry.key}"
    name = entry.key.rpartition("/")[0]
    return Version(name, version_of(uri), uri, entry.bytes, entry.sha256, entry.modified)


def _natural(text: str) -> list[tuple[int, str]]:
    """Sorts 9 before 10."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", text)]
