# SPDX-License-Identifier: Apache-2.0
"""The key of an entity in Redis, whatever people put into ids: a brace would choose the node of a cluster.

A lookup asks for hundreds of keys, and for the same ones again and again, so what was encoded is remembered.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from zlib import crc32

from endcap_api.v1alpha1.featureview import EntityKey
from endcap_runtime.features.layout.faults import InvalidEntity

PARTITIONS = 64
LONGEST = 128
REMEMBERED = 65_536
_FORBIDDEN = re.compile("[\x00-\x1f\x7f-\x9f{}]")
_INTEGER = re.compile("-?[1-9][0-9]{0,18}|0")
_INT64 = range(-(2**63), 2**63)


class EntityKeys:
    """Encodes entities of one kind; the views of an entity share one, and so what it remembers."""

    def __init__(self, keys: Sequence[EntityKey]) -> None:
        self._keys = tuple(keys)
        self._remembered: dict[tuple[str | int, ...], tuple[bytes, bytes]] = {}

    def encoded(self, entity: Sequence[str | int]) -> tuple[bytes, bytes]:
        """The hash tag `{p}` and the entity's own part of the key; raises InvalidEntity."""
        entity = tuple(entity)
        found = self._remembered.get(entity)
        # True and 1.0 equal 1, so what is no text and no int must not find what 1 left.
        if found is not None and all(type(part) in (str, int) for part in entity):
            return found
        encoded = self._encode(entity)
        if len(self._remembered) >= REMEMBERED:
            self._remembered.clear()
        self._remembered[entity] = encoded
        return encoded

    def _encode(self, entity: tuple[str | int, ...]) -> tuple[bytes, bytes]:
        if len(entity) != len(self._keys):
            names = ", ".join(key.name for key in self._keys)
            raise InvalidEntity("keys", f"expected {len(self._keys)} ({names}), got {len(entity)}")
        parts = [_part(key, value) for key, value in zip(self._keys, entity, strict=True)]
        joined = "|".join(part.replace("%", "%25").replace("|", "%7C") for part in parts).encode()
        return b"{%d}" % (crc32(joined) % PARTITIONS), joined


@cache
def entity_keys(keys: tuple[tuple[str, str], ...]) -> EntityKeys:
    """Of keys by name and type."""
    return EntityKeys([EntityKey.model_validate({"name": name, "type": kind}) for name, kind in keys])


def _part(key: EntityKey, value: object) -> str:
    if key.type == "integer":
        return _whole(key.name, value)
    if type(value) is not str:
        raise InvalidEntity(key.name, f"expected a text, got {_kind(value)}: send it in quotes")
    return _text(key.name, value)


def _text(name: str, value: str) -> str:
    try:
        length = len(value.encode())
    except UnicodeEncodeError:
        raise InvalidEntity(name, "holds half a character (a lone surrogate): send valid Unicode") from None
    if not 1 <= length <= LONGEST:
        raise InvalidEntity(name, f"a key has 1 to {LONGEST} bytes, this one {length}: send the entity's id")
    if _FORBIDDEN.search(value):
        raise InvalidEntity(
            name, "a key holds no control characters and neither { nor }: send the entity's id as it is known"
        )
    return value


def _whole(name: str, value: object) -> str:
    """A whole number, or the text of one as JSON would write it."""
    text = str(value) if type(value) is int else value
    if type(text) is not str or not _INTEGER.fullmatch(text) or int(text) not in _INT64:
        raise InvalidEntity(name, f"expected a whole number of 64 bits, got {_kind(value)}: send e.g. 1467")
    return text


def _kind(value: object) -> str:
    names = {
        bool: "a boolean", int: "a number", float: "a number", str: "a text", type(None): "null",
        list: "an array", dict: "an object",
    }  # fmt: skip
    return names.get(type(value), "something else")
