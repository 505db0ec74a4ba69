# SPDX-License-Identifier: Apache-2.0
"""Rewrites the URI and the digest of one artefact in a YAML file and leaves every other character alone.

The file is somebody's source, with comments and an order of their own: it is parsed only to learn where the
two values stand.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import yaml

_PLACES = {"ModelDeployment": ("spec", "model"), "InferenceGraph": ("spec", "catalogue")}


class PinningError(Exception):
    """A file in which the artefact's place is missing or not unique; the message says which."""


@dataclass(frozen=True)
class _Place:
    """A resource's artefact: the two values as they stand in the text."""

    resource: str
    uri: yaml.ScalarNode
    sha256: yaml.ScalarNode


def pinned(text: str, uri: str, sha256: str) -> str:
    """The text with the artefact whose URI differs from `uri` only in its last segment moved to `uri`.

    That is the `spec.model` of a ModelDeployment or the `spec.catalogue` of an InferenceGraph. PinningError
    if no resource in the text, or more than one, has such an artefact.
    """
    places = [place for place in _places(text) if _prefix(place.uri.value) == _prefix(uri)]
    if len(places) != 1:
        found = ", ".join(place.resource for place in places) or "none"
        raise PinningError(f"one resource must have an artefact at {_prefix(uri)}/…, found: {found}")
    changes = [(places[0].uri, uri), (places[0].sha256, sha256)]
    for node, value in sorted(changes, key=lambda change: -change[0].start_mark.index):
        start, end = node.start_mark.index, node.end_mark.index
        text = text[:start] + _written(node, text[start:end], value) + text[end:]
    return text


def _prefix(uri: str) -> str:
    return uri.rpartition("/")[0]


def _places(text: str) -> Iterator[_Place]:
    try:
        documents = list(yaml.compose_all(text, Loader=yaml.SafeLoader))
    except yaml.YAMLError as error:
        raise PinningError(f"the file is not YAML: {error}") from error
    for document in documents:
        kind = _scalar(_child(document, "kind"))
        if kind is not None and kind.value in _PLACES:
            yield from _place(document, kind.value)


def _place(document: yaml.Node, kind: str) -> Iterator[_Place]:
    node: yaml.Node | None = document
    for key in _PLACES[kind]:
        node = _child(node, key)
    uri, sha256 = _scalar(_child(node, "uri")), _scalar(_child(node, "sha256"))
    name = _scalar(_child(_child(document, "metadata"), "name"))
    if uri is not None and sha256 is not None:
        yield _Place(f"{kind} {name.value if name else '?'}", uri, sha256)


def _child(node: yaml.Node | None, key: str) -> yaml.Node | None:
    if not isinstance(node, yaml.MappingNode):
        return None
    return next((value for name, value in node.value if name.value == key), None)


def _scalar(node: yaml.Node | None) -> yaml.ScalarNode | None:
    return node if isinstance(node, yaml.ScalarNode) else None


def _written(node: yaml.ScalarNode, old: str, value: str) -> str:
    """The value in the quotes that the old one has, or in some if it would not be read as text without."""
    if node.style in {"|", ">"} or old.startswith(("&", "!")):
        raise PinningError("the artefact's uri and sha256 must stand on one line, without anchors and tags")
    is_plain = yaml.safe_load(f"[{value}]") == [value]
    quote = node.style or ("" if is_plain else '"')
    return f"{quote}{value}{quote}"
