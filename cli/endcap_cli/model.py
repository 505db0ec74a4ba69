# SPDX-License-Identifier: Apache-2.0
"""`endcap model`: versions of models and catalogues in a store, pushed once and never changed."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from endcap_api.runtime_config import version_of
from endcap_cli.model_store import Pushed, Version, listing, push
from endcap_cli.packing import PackingError
from endcap_cli.pinning import PinningError, pinned
from endcap_cli.stores import Store, StoreError, store_from
from endcap_cli.terminal import CommandError, complain, say, say_table
from endcap_runtime.artefacts import ArtefactError

NO_DIGEST = "0" * 64


def run_push(arguments: argparse.Namespace) -> int:
    if arguments.update:
        _pinned(arguments.update, arguments.uri, NO_DIGEST)  # before anything is stored for good
    try:
        pushed = push(arguments.path, arguments.uri, _store(arguments))
    except (StoreError, PackingError, ArtefactError, OSError) as error:
        raise CommandError(str(error)) from None
    _tell(pushed)
    if arguments.update:
        _update(arguments.update, pushed)
    return 0


def _store(arguments: argparse.Namespace) -> Store:
    if arguments.store:
        Path(arguments.store).mkdir(parents=True, exist_ok=True)
        return store_from({"ENDCAP_LOCAL_STORE": arguments.store})
    if arguments.endpoint:
        environment = {k: v for k, v in os.environ.items() if k != "ENDCAP_LOCAL_STORE"}
        return store_from({**environment, "ENDCAP_S3_ENDPOINT": arguments.endpoint})
    if not os.environ.get("ENDCAP_LOCAL_STORE") and not os.environ.get("ENDCAP_S3_ENDPOINT"):
        raise CommandError("no store: name one with --store DIR or --endpoint URL", status=2)
    return store_from(os.environ)


def _tell(pushed: Pushed) -> None:
    done = "pushed" if pushed.created else "was there already"
    complain(f"{done}: version {version_of(pushed.uri)}, {_size(pushed.bytes)}")
    say(f"uri: {pushed.uri}")
    say(f"sha256: {pushed.sha256}")
    if pushed.has_pickle:
        complain(
            "note: it holds a pickle, which runs code when it is loaded: the resource needs allowPickle: true"
        )


def _pinned(file: Path, uri: str, sha256: str) -> str:
    """The file's text with the new version in it; CommandError where that cannot be written."""
    try:
        if not file.is_file() or not os.access(file, os.W_OK):
            raise CommandError(
                f"--update {file}: is no file that can be written: give the resource's YAML file"
            )
        return pinned(file.read_text(encoding="utf-8"), uri, sha256)
    except (PinningError, OSError, UnicodeDecodeError) as error:
        raise CommandError(f"--update {file}: {error}") from None


def _update(file: Path, pushed: Pushed) -> None:
    text = _pinned(file, pushed.uri, pushed.sha256)
    try:
        file.write_text(text, encoding="utf-8")
    except OSError as error:
        raise CommandError(f"--update {file}: {error}") from None
    complain(f"updated {file}")


def run_list(arguments: argparse.Namespace) -> int:
    try:
        versions = listing(arguments.prefix, _store(arguments))
    except (StoreError, OSError) as error:
        raise CommandError(str(error)) from None
    if not versions:
        raise CommandError(f"nothing is stored below {arguments.prefix}")
    say_table(("MODEL", "VERSION", "SIZE", "PUSHED", "SHA256"), [_row(version) for version in versions])
    return 0


def _row(version: Version) -> tuple[str, ...]:
    pushed = version.modified.strftime("%Y-%m-%d %H:%M")
    return version.name, version.version, _size(version.bytes), pushed, version.sha256 or "not known"


def _size(number: float) -> str:
    for unit in ("B", "KiB", "MiB"):
        if number < 1024:  # noqa: PLR2004  a unit holds as many of the one below
            return f"{number:.0f} {unit}" if unit == "B" else f"{number:.1f} {unit}"
        number /= 1024
    return f"{number:.1f} GiB"
