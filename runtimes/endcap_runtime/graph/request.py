# SPDX-License-Identifier: Apache-2.0
"""A request body as the values that expressions read, checked by what the resource declares, compiled once.

Products come as names; each is found in the catalogue here, so that a misspelt one is refused with its nearest names
and models get keys.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from rapidfuzz import process

from endcap_api.v1alpha1.values import RequestField
from endcap_runtime.graph.body import json_object
from endcap_runtime.graph.catalogue import Catalogue
from endcap_runtime.graph.failures import InvalidSpec
from endcap_runtime.graph.items import Items
from endcap_runtime.graph.values import EMPTY, READERS, Fault, Read, array_of
from endcap_runtime.problems import FieldError, Problem

MAX_ITEMS = 100
# Characters of a field's name that a message repeats; nobody needs more of it to know which one is meant.
_SHOWN = 64


class Checked(NamedTuple):
    """values: every declared field as `request.<field>`, products by display name. keys: its product fields by key.
    given: the fields that the body has.
    """

    values: dict[str, object]
    keys: dict[str, object]
    given: Collection[str]


@dataclass(frozen=True, slots=True)
class _Field:
    name: str
    dotted: str
    spec: RequestField
    read: Read
    product: bool

    def checked(self, value: Any) -> object:
        """Raises Fault."""
        found = self.read(value)
        spec = self.spec
        if spec.enum is not None and found not in spec.enum:
            raise Fault(f"is not one of {', '.join(spec.enum)}")
        if spec.minimum is not None and found < spec.minimum:  # type: ignore[operator]
            raise Fault(f"is less than {spec.minimum:g}")
        if spec.maximum is not None and found > spec.maximum:  # type: ignore[operator]
            raise Fault(f"is more than {spec.maximum:g}")
        return found


class RequestSchema:
    """The fields of a graph's request. Raises InvalidSpec for a default that the catalogue does not know."""

    def __init__(self, fields: Mapping[str, RequestField], catalogue: Catalogue, items: Items) -> None:
        self._fields = {name: _field(name, spec) for name, spec in fields.items()}
        self._catalogue, self._items = catalogue, items
        self._defaults, self._default_keys = self._absent()
        self._required = [name for name, spec in fields.items() if spec.required]

    def read(self, body: bytes) -> Checked:
        """Raises Problem: 400 for what is no JSON object, 422 naming every field that does not fit."""
        given = json_object(body)
        errors = [FieldError(name, "is required") for name in self._required if name not in given]
        values, keys = dict(self._defaults), dict(self._default_keys)
        for name, value in given.items():
            field = self._fields.get(name)
            if field is None:
                errors.append(FieldError(name[:_SHOWN], self._unknown(name[:_SHOWN])))
            else:
                errors.extend(self._read_field(field, value, values, keys))
        if errors:
            raise Problem(422, _summary(errors), errors)
        return Checked(values, keys, given.keys())

    def _read_field(
        self, field: _Field, value: Any, values: dict[str, object], keys: dict[str, object]
    ) -> Sequence[FieldError]:
        try:
            found = field.checked(value)
        except Fault as fault:
            return [FieldError(field.name + fault.at, fault.message)]
        if not field.product:
            values[field.dotted] = found
            return ()
        return self._resolve(field, found, values, keys)

    def _resolve(
        self, field: _Field, found: Any, values: dict[str, object], keys: dict[str, object]
    ) -> Sequence[FieldError]:
        """Products under the names and the keys of the catalogue."""
        named = found if field.spec.items is not None else [found]
        rows = [self._catalogue.row_of_name(name) for name in named]
        if None in rows:
            return list(self._unknown_products(field, named, rows))
        names = [self._items.names[row] for row in rows if row is not None]
        known = [self._items.keys[row] for row in rows if row is not None]
        values[field.dotted] = names if field.spec.items is not None else names[0]
        keys[field.dotted] = known if field.spec.items is not None else known[0]
        return ()

    def _unknown_products(
        self, field: _Field, named: Sequence[str], rows: Sequence[int | None]
    ) -> Iterator[FieldError]:
        for place, (name, row) in enumerate(zip(named, rows, strict=True)):
            if row is None:
                at = f"[{place}]" if field.spec.items is not None else ""
                nearest = ", ".join(self._catalogue.nearest(name)) or "none"
                yield FieldError(
                    field.name + at, f"{name[:128]!r} is not a product of the catalogue; nearest: {nearest}"
                )

    def _unknown(self, name: str) -> str:
        nearest = process.extractOne(name, self._fields.keys(), score_cutoff=60)
        known = ", ".join(self._fields)
        hint = f"did you mean {nearest[0]}?" if nearest else "remove it."
        return f"is not a field of this request: {hint} The fields are {known}."

    def _absent(self) -> tuple[dict[str, object], dict[str, object]]:
        """What fields are when they are not given: their default, or else empty."""
        values: dict[str, object] = {}
        keys: dict[str, object] = {}
        for field in self._fields.values():
            empty = [] if field.spec.items is not None else EMPTY[field.spec.type]
            values[field.dotted] = empty
            if field.product:
                keys[field.dotted] = empty
            if field.spec.default is not None:
                for error in self._read_field(field, field.spec.default, values, keys):
                    raise InvalidSpec(f"spec.api.request.{error.field}.default {error.message}")
        return values, keys


def _field(name: str, spec: RequestField) -> _Field:
    kind = spec.items.type if spec.items is not None else spec.type
    read = READERS[kind]
    if spec.items is not None:
        read = array_of(read, spec.max_items or MAX_ITEMS)
    return _Field(name, f"request.{name}", spec, read, kind == "product")


def _summary(errors: Sequence[FieldError]) -> str:
    first = f"{errors[0].field} {errors[0].message}"
    more = f", and {len(errors) - 1} more" if len(errors) > 1 else ""
    return f"The request does not fit: {first}{more}"
