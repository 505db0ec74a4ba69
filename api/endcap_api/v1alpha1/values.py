# SPDX-License-Identifier: Apache-2.0
"""One vocabulary of values for request fields, model columns and catalogue columns."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field, StringConstraints

from endcap_api.v1alpha1.base import Element, Free, Identifier, Rule, Text

ScalarType = Literal["string", "integer", "number", "boolean", "product"]
ValueType = Literal["string", "integer", "number", "boolean", "product", "array"]

_TYPE_TEXT = (
    "string, integer (int64), number (float64), boolean, product (a name for people, a catalogue key for "
    "models) or array."
)
ARRAY_RULE = Rule(
    "(self.type == 'array') == has(self.items)",
    "type array needs items, e.g. items: {type: string}; the other types have none",
)


class Items(Element):
    """What an array holds."""

    type: ScalarType = Field(description="Type of the elements: string, integer, number, boolean or product.")


class Column(Element):
    """A column of a model or of the catalogue."""

    rules: ClassVar[tuple[Rule, ...]] = (ARRAY_RULE,)

    name: Identifier = Field(description="Name of the column, in snake_case.")
    type: ValueType = Field(description=_TYPE_TEXT)
    items: Items | None = Field(default=None, description="Element type of an array.")
    description: Text | None = Field(default=None, description="What the column means, for a person.")


class RequestField(Element):
    """A field of the request. One that is absent takes its default, or else is empty."""

    rules: ClassVar[tuple[Rule, ...]] = (
        ARRAY_RULE,
        Rule(
            "!has(self.enum) || self.type == 'string'",
            "enum is for type string: remove it or change the type",
        ),
        Rule(
            "(!has(self.minimum) && !has(self.maximum)) || self.type in ['integer', 'number']",
            "minimum and maximum are for type integer and number: remove them or change the type",
        ),
        Rule(
            "!has(self.minimum) || !has(self.maximum) || self.minimum <= self.maximum",
            "maximum is below minimum: raise maximum or lower minimum",
        ),
        Rule("!has(self.maxItems) || self.type == 'array'", "maxItems is for type array: remove it"),
    )

    type: ValueType = Field(description=_TYPE_TEXT)
    items: Items | None = Field(default=None, description="Element type of an array.")
    description: Text | None = Field(
        default=None, description="What the field means; shown in the OpenAPI document."
    )
    required: bool = Field(
        default=False,
        description="Refuse a request without this field; otherwise it takes its default or is empty.",
    )
    default: Free = Field(
        default=None, description="Value when the field is absent; of the field's own type."
    )
    enum: list[Annotated[str, StringConstraints(max_length=128)]] | None = Field(
        default=None, min_length=1, max_length=64, description="The values that are allowed."
    )
    minimum: float | None = Field(default=None, description="Smallest value that is allowed.")
    maximum: float | None = Field(default=None, description="Largest value that is allowed.")
    max_items: int | None = Field(
        default=None, ge=1, le=1000, description="Most elements of an array; 100 when it is not set."
    )
