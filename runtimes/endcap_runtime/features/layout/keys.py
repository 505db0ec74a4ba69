# SPDX-License-Identifier: Apache-2.0
"""The key of an entity in Redis, whatever people put into ids: a brace would choose the node of a cluster.

A lookup asks for hundreds of keys, and for the same ones again and again, so what was encoded is remembered.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from typing import Any, NamedTuple
from zlib import crc32

from endcap_api.v1alpha1.featureview import EntityKey
from endcap_runtime.features.layout.faults import InvalidEntity, kind_of

PARTITIONS = 64
LONGEST = 128
REMEMBERED = 65_536
_FORBIDDEN = re.compile("[\x00-\x1f\x7f-\x9f{}]")
_INTEGER = re.compile("-?[1-9][0-9]{0,18}|0")
_INT64 = range(-(2**63), 2**63)


class Encoded(NamedTuple):
    """`tag` is the hash tag `{p}`; `ending` is the tag and the entity's own part of the key."""

    tag: bytes
    ending: bytes


class EntityKeys:
    """Encodes entities of one kind; the views of an entity share one, and so what it remembers."""

    def __init__(self, keys: Sequence[EntityKey]) -> None:
        self._keys = tuple(keys)
        self._texts = all(key.type == "string" for key in keys)
        self._remembered: dict[tuple[Any, ...], Encoded] = {}

    def encoded(self, entity: Sequence[Any]) -> Encoded:
        """Raises InvalidEntity."""
        # Remembered are texts alone: True and 1.0 would find what 1 left.
        texts = tuple(entity) if self._texts else tuple(str(p) if type(p) is int else p for p in entity)
        try:
            found = self._remembered.get(texts)
        except TypeError:  # an array or an object: refused below, by name
            found = None
        return found or self._remember(texts)

    def _remember(self, entity: tuple[Any, ...]) -> Encoded:
        encoded = self._encode(entity)
        if len(self._remembered) >= REMEMBERED:
            self._remembered.clear()
        self._remembered[entity] = encoded
        return encoded

    def _encode(self, entity: tuple[Any, ...]) -> Encoded:
        if len(entity) != len(self._keys):
            names = ", ".join(key.name for key in self._keys)
            raise InvalidEntity("keys", f"expected {len(self._keys)} ({names}), got {len(entity)}")
        parts = [_part(key, value) for key, value in zip(self._keys, entity, strict=True)]
        joined = "|".join(part.replace("%", "%25").replace("|", "%7C") for part in parts).encode()
        tag = b"{%d}" % (crc32(joined) % PARTITIONS)
        return Encoded(tag, tag + joined)


@cache
def entity_keys(keys: tuple[tuple[str, str], ...]) -> EntityKeys:
    """Of keys by name and type."""
    return EntityKeys([EntityKey.model_validate({"name": name, "type": kind}) for name, kind in keys])


def _part(key: EntityKey, value: object) -> str:
    if key.type == "integer":
        return _whole(key.name, value)
    if type(value) is not str:
        raise InvalidEntity(key.name, f"expected a text, got {kind_of(value)}: send it in quotes")
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
    """The text of a whole number, as JSON would write it."""
    if type(value) is not str or not _INTEGER.fullmatch(value) or int(value) not in _INT64:
        raise InvalidEntity(name, f"expected a whole number of 64 bits, got {kind_of(value)}: send e.g. 1467")
    return value
