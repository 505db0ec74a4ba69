# SPDX-License-Identifier: Apache-2.0
"""What a stream view reads of an event: which of its features count it, and the fields that they need.

Features that count the same events share a bit (a predicate), those that read a field in the same way a number.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any, Literal, NamedTuple

from endcap_api.v1alpha1.featureview import Feature
from endcap_runtime.features.layout.faults import InvalidEvent, kind_of
from endcap_runtime.features.layout.numbers import scaled
from endcap_runtime.features.layout.updates import Event

DECIMALS = 2
TEXT_BYTES = 32
ReadAs = Literal["number", "integer", "boolean", "text", "hash"]


class Field(NamedTuple):
    """A field of the event's data and how it is kept: `size` is decimals of a number, bytes of a text."""

    name: str
    kind: ReadAs
    size: int = 0


class Predicate(NamedTuple):
    """Events of a type whose data has these texts."""

    event: str
    where: tuple[tuple[str, str], ...]

    def holds(self, data: Mapping[str, Any]) -> bool:
        """Raises InvalidEvent when a text is not there to be compared."""
        return all(_compared(data, name) == text for name, text in self.where)


def _compared(data: Mapping[str, Any], name: str) -> str:
    if name not in data:
        raise InvalidEvent(f"data.{name}", "missing, and a feature counts by it (where): send it")
    value = data[name]
    if type(value) is not str:
        raise InvalidEvent(f"data.{name}", f"expected a text, got {kind_of(value)}: send it in quotes")
    return value


class Seen(NamedTuple):
    """What a view makes of one event: bits of the features that count it, its fields by position."""

    bits: int
    fields: list[int | bytes | None]


@dataclass(frozen=True)
class Inputs:
    """Of the features of a view, in order; `predicates` and `fields` are what they share."""

    predicates: tuple[Predicate, ...]
    fields: tuple[Field, ...]
    of: tuple[tuple[int, int | None], ...]
    _by_type: dict[str, list[tuple[Feature, int, int | None]]] = field(repr=False)

    def read(self, event: Event) -> Seen | None:
        """None when no feature counts it; raises InvalidEvent."""
        bits, values = 0, [None] * len(self.fields)
        kept: list[int | bytes | None] = list(values)
        for feature, predicate, position in self._by_type.get(event.type, ()):
            if not self.predicates[predicate].holds(event.data):
                continue
            bits |= 1 << predicate
            if position is not None:
                kept[position] = _value(self.fields[position], feature, event.data)
        return Seen(bits, kept) if bits else None


def inputs_of(features: list[Feature]) -> Inputs:
    predicates: dict[Predicate, int] = {}
    fields: dict[Field, int] = {}
    by_type: dict[str, list[tuple[Feature, int, int | None]]] = {}
    of = []
    for feature in features:
        event = str(feature.event)
        predicate = Predicate(event, tuple(sorted((feature.where or {}).items())))
        bit = predicates.setdefault(predicate, len(predicates))
        read = _field(feature)
        position = None if read is None else fields.setdefault(read, len(fields))
        by_type.setdefault(event, []).append((feature, bit, position))
        of.append((bit, position))
    return Inputs(tuple(predicates), tuple(fields), tuple(of), by_type)


def _field(feature: Feature) -> Field | None:
    if feature.field is None:
        return None
    if feature.aggregation == "distinct":
        return Field(feature.field, "hash")
    kind = feature.items.type if feature.aggregation == "top" and feature.items else feature.type
    if kind == "string":
        return Field(feature.field, "text", feature.max_length or TEXT_BYTES)
    if kind == "number":
        return Field(feature.field, "number", decimals_of(feature))
    return Field(feature.field, "boolean" if kind == "boolean" else "integer")


def decimals_of(feature: Feature) -> int:
    return DECIMALS if feature.decimals is None else feature.decimals


def _value(read: Field, feature: Feature, data: Mapping[str, Any]) -> int | bytes:
    name = f"data.{read.name}"
    if read.name not in data:
        raise InvalidEvent(name, "missing: send it")
    value = data[read.name]
    if read.kind == "text":
        return text_bytes(name, value, read.size)
    if read.kind == "hash":
        return _hash(name, value)
    if read.kind == "boolean":
        return _boolean(name, value)
    return _number(name, read, feature, value)


def _number(name: str, read: Field, feature: Feature, value: Any) -> int:
    wanted = "a whole number" if read.kind == "integer" else "a number"
    if type(value) not in (int, float) or (read.kind == "integer" and value != value // 1):
        raise InvalidEvent(name, f"expected {wanted}, got {kind_of(value)}: send {wanted}")
    if feature.minimum is not None and value < feature.minimum:
        raise InvalidEvent(name, f"{value!r} is below the minimum of {feature.minimum:.15g}: check its unit")
    if feature.maximum is not None and value > feature.maximum:
        raise InvalidEvent(name, f"{value!r} is above the maximum of {feature.maximum:.15g}: check its unit")
    try:
        return scaled(value, read.size)
    except ValueError as error:
        raise InvalidEvent(name, str(error)) from None


def _boolean(name: str, value: Any) -> int:
    if type(value) is not bool:
        raise InvalidEvent(name, f"expected true or false, got {kind_of(value)}: send true or false")
    return int(value)


def text_bytes(name: str, value: Any, longest: int) -> bytes:
    """The text in UTF-8; raises InvalidEvent. NUL is refused because short texts are filled up with it."""
    if type(value) is not str:
        raise InvalidEvent(name, f"expected a text, got {kind_of(value)}: send it in quotes")
    try:
        encoded = value.encode()
    except UnicodeEncodeError:
        raise InvalidEvent(name, "holds half a character (a lone surrogate): send valid Unicode") from None
    if len(encoded) > longest:
        raise InvalidEvent(
            name, f"a text of {len(encoded)} bytes is longer than {longest}: shorten it, or raise maxLength"
        )
    if "\0" in value:
        raise InvalidEvent(name, "holds a NUL character: remove it")
    return encoded


def _hash(name: str, value: Any) -> int:
    """64 bits that stand for a value among those that are counted; 1 and 1.0 are the same number."""
    if type(value) is str:
        text = "s" + value
    elif type(value) is bool:
        text = f"b{value}"
    elif type(value) in (int, float) and abs(value) < float("inf"):
        text = f"n{int(value) if value == value // 1 else value!r}"
    else:
        raise InvalidEvent(name, f"expected a text, a number or a boolean, got {kind_of(value)}: send one")
    digest = blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "little", signed=True)
