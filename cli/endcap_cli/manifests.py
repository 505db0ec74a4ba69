# SPDX-License-Identifier: Apache-2.0
"""Manifests in files and folders, each with the place where it stands."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import yaml

from endcap_api.v1alpha1.kinds import GROUP
from endcap_cli.terminal import CommandError
from endcap_cli.yaml_source import documents, line_of

MAX_BYTES = 4 * 1024 * 1024
SUFFIXES = (".yaml", ".yml")
STANDARD_INPUT = "-"
_Text = TypeVar("_Text", str, bytes)


@dataclass(frozen=True)
class Finding:
    """Something that an author must change, and where."""

    file: str
    line: int
    resource: str
    field: str
    message: str

    def __str__(self) -> str:
        parts = (f"{self.file}:{self.line}", self.resource, self.field, self.message)
        return ": ".join(part for part in parts if part)


@dataclass(frozen=True)
class Manifest:
    """One object of a file; `fallback` is the namespace of one that names none."""

    file: str
    node: yaml.Node
    data: dict[str, Any]
    fallback: str = "default"

    @property
    def resource(self) -> str:
        """Kind and name, as people write it."""
        return f"{self.data.get('kind', '?')}/{self.name}"

    @property
    def name(self) -> str:
        return str(self._metadata.get("name", "?"))

    @property
    def namespace(self) -> str:
        return str(self._metadata.get("namespace") or self.fallback)

    @property
    def ours(self) -> bool:
        """Whether the object is of our group, in whatever version."""
        return str(self.data.get("apiVersion", "")).split("/")[0] == GROUP

    @property
    def _metadata(self) -> dict[str, Any]:
        metadata = self.data.get("metadata")
        return metadata if isinstance(metadata, dict) else {}

    def finding(self, field: str, message: str) -> Finding:
        return Finding(self.file, line_of(self.node, field), self.resource, field, message)


@dataclass
class Loaded:
    """What the files hold, and what in them is not YAML or no object; `place` is what was asked for."""

    place: str
    namespace: str = "default"
    manifests: list[Manifest] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)


def load(paths: Sequence[str], namespace: str = "default") -> Loaded:
    """Every manifest of files and of the YAML files of folders; a file that cannot be read is a finding, and the
    others are read all the same. Raises CommandError for a path that is not there.
    """
    loaded = Loaded(
        " ".join("standard input" if path == STANDARD_INPUT else path for path in paths), namespace
    )
    for name, read in _sources(paths):
        try:
            _load_text(name, read(), loaded)
        except _Unreadable as error:
            loaded.findings.append(Finding(name, 1, "", "", str(error)))
    return loaded


class _Unreadable(Exception):
    """Why a file cannot be read, with the remedy."""


def _sources(paths: Iterable[str]) -> Iterator[tuple[str, Callable[[], str]]]:
    for path in paths:
        if path == STANDARD_INPUT:
            yield "standard input", _standard_input
        else:
            yield from ((str(file), partial(_read, file)) for file in _files(Path(path)))


def _files(path: Path) -> list[Path]:
    """A file itself; the YAML files of a folder, not of the folders in it."""
    if not path.exists():
        raise CommandError(f"{path} does not exist: give a file or a folder", status=2)
    if not path.is_dir():
        return [path]
    return sorted(file for file in path.iterdir() if file.suffix in SUFFIXES and file.is_file())


def _standard_input() -> str:
    try:
        return _of_a_size(sys.stdin.read(MAX_BYTES + 1))
    except UnicodeDecodeError as error:
        raise _not_utf8(error) from None


def _read(file: Path) -> str:
    if not file.is_file():
        raise _Unreadable("is no plain file: give one, or - and send it to standard input")
    try:
        with file.open("rb") as stream:
            return _of_a_size(stream.read(MAX_BYTES + 1)).decode()
    except UnicodeDecodeError as error:
        raise _not_utf8(error) from None
    except OSError as error:
        raise _Unreadable(f"cannot be read: {error.strerror}") from None


def _of_a_size(text: _Text) -> _Text:
    if len(text) > MAX_BYTES:
        raise _Unreadable("is larger than 4 MiB: give a file of manifests")
    return text


def _not_utf8(error: UnicodeDecodeError) -> _Unreadable:
    return _Unreadable(f"is not UTF-8 at byte {error.start}: save it as UTF-8")


def _load_text(name: str, text: str, loaded: Loaded) -> None:
    try:
        for node, data in documents(text):
            _load_document(Manifest(name, node, data, loaded.namespace), loaded)
    except yaml.YAMLError as error:
        loaded.findings.append(_not_yaml(name, error))


def _load_document(manifest: Manifest, loaded: Loaded) -> None:
    data: Any = manifest.data
    if data is None:
        return
    if not isinstance(data, dict):
        line = manifest.node.start_mark.line + 1
        message = "this document is no object: start it with apiVersion, kind, metadata and spec"
        loaded.findings.append(Finding(manifest.file, line, "", "", message))
    elif data.get("kind") == "List" and isinstance(manifest.node, yaml.MappingNode):
        _load_list(manifest, loaded)
    else:
        loaded.manifests.append(manifest)


def _load_list(manifest: Manifest, loaded: Loaded) -> None:
    """The objects of a List, as `kubectl get -o yaml` writes them."""
    nodes: list[yaml.Node] = next(
        (value.value for key, value in manifest.node.value if key.value == "items"), []
    )
    for node, item in zip(nodes, manifest.data.get("items") or [], strict=True):
        _load_document(replace(manifest, node=node, data=item), loaded)


def _not_yaml(name: str, error: yaml.YAMLError) -> Finding:
    mark = getattr(error, "problem_mark", None)
    problem = getattr(error, "problem", None) or str(error).splitlines()[0]
    context = getattr(error, "context", None)
    message = f"is not YAML: {f'{context}: ' if context else ''}{problem}"
    return Finding(name, mark.line + 1 if mark else 1, "", "", message)
