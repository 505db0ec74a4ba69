# SPDX-License-Identifier: Apache-2.0
"""Entities as a request names them: columns of keys, checked, to tuples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from endcap_api.v1alpha1.featureview import EntityKey

MOST_ENTITIES = 4096
_TYPES: Mapping[str, tuple[type, str]] = {"string": (str, "a text"), "integer": (int, "a whole number")}


class InvalidKeys(ValueError):
    """Keys that name no entity; `field` is the key as the caller wrote it."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(f"{field}: {message}")
        self.field, self.message = field, message


def entities_of(entity: str, keys: Sequence[EntityKey], given: Mapping[str, Sequence[Any]]) -> Sequence[Any]:
    """N texts or numbers, or N tuples of them where an entity has several keys. Raises InvalidKeys."""
    if given.keys() != {key.name for key in keys}:
        raise _wrong_names(entity, [key.name for key in keys], given)
    columns = [_checked(key.name, key.type, given[key.name]) for key in keys]
    if len({len(column) for column in columns}) > 1:
        raise InvalidKeys(keys[0].name, "each key needs as many values as the others")
    return columns[0] if len(columns) == 1 else list(zip(*columns, strict=True))


def values_of(entity: Any) -> tuple[Any, ...]:
    """The values of all keys of one of them."""
    return entity if isinstance(entity, tuple) else (entity,)


def _wrong_names(entity: str, names: Sequence[str], given: Mapping[str, Any]) -> InvalidKeys:
    wrong = min([name for name in names if name not in given] or [n for n in given if n not in names])
    what = "is missing" if wrong in names else "is no key of it"
    return InvalidKeys(wrong[:64], f"{what}: the entity {entity} has the keys {', '.join(names)}")


def _checked(name: str, kind: str, values: Any) -> Sequence[Any]:
    """A list of 1 to MOST_ENTITIES values of the key's type; raises InvalidKeys."""
    if type(values) is not list or not 1 <= len(values) <= MOST_ENTITIES:
        raise InvalidKeys(name, f"must be a list of 1 to {MOST_ENTITIES} values")
    wanted, words = _TYPES[kind]
    if set(map(type, values)) != {wanted}:
        row = next(row for row, value in enumerate(values) if type(value) is not wanted)
        raise InvalidKeys(f"{name}[{row}]", f"must be {words}")
    return values
