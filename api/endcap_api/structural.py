# SPDX-License-Identifier: Apache-2.0
"""From pydantic's JSON Schema to the structural schema that a CustomResourceDefinition wants.

Kubernetes knows no references, no `null` and no titles; it wants descriptions where `kubectl explain` looks.
"""

from __future__ import annotations

from typing import Any

from endcap_api.v1alpha1.base import Element

Schema = dict[str, Any]
_DROPPED = ("title", "$defs", "propertyNames")


def structural_schema(element: type[Element]) -> Schema:
    """The structural schema of an element of the API, references resolved."""
    schema = element.model_json_schema(by_alias=True)
    return _node(schema, schema.get("$defs", {}))


def _node(schema: Schema, definitions: dict[str, Schema]) -> Schema:
    schema = _without_null(_resolved(schema, definitions))
    schema = _resolved(schema, definitions)
    plain = {key: value for key, value in schema.items() if key not in _DROPPED}
    plain |= _default(plain.pop("default", None))
    plain.pop("patternProperties", None)
    if "properties" in plain:
        plain["properties"] = {name: _node(child, definitions) for name, child in plain["properties"].items()}
        plain.pop("additionalProperties", None)
    elif _values_of(schema) is not None:
        plain["additionalProperties"] = _node(_values_of(schema) or {}, definitions)
    if "items" in plain:
        plain["items"] = _node(plain["items"], definitions)
    return _typed(plain)


def _default(value: Any) -> Schema:
    """A default without what is unset in it; none at all for `null`, which means that the field stays absent."""
    return {} if value is None else {"default": _set_in(value)}


def _set_in(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    return {key: _set_in(inner) for key, inner in value.items() if inner is not None}


def _resolved(schema: Schema, definitions: dict[str, Schema]) -> Schema:
    """A reference replaced by what it names; what stands beside it, such as the field's description, wins."""
    reference = schema.get("$ref")
    if reference is None:
        return schema
    beside = {key: value for key, value in schema.items() if key != "$ref"}
    return {**definitions[reference.rsplit("/", 1)[-1]], **beside}


def _without_null(schema: Schema) -> Schema:
    """`anyOf: [X, null]` becomes X: in Kubernetes a field that is not set is absent."""
    options = [option for option in schema.get("anyOf", ()) if option != {"type": "null"}]
    if len(options) != 1:
        return schema
    return {**options[0], **{key: value for key, value in schema.items() if key != "anyOf"}}


def _values_of(schema: Schema) -> Schema | None:
    patterned = schema.get("patternProperties", {})
    found = next(iter(patterned.values()), schema.get("additionalProperties"))
    return found if isinstance(found, dict) else None


def _typed(schema: Schema) -> Schema:
    if schema.get("type") == "integer":
        return {"format": "int64", **schema}
    if "type" not in schema:
        return {"x-kubernetes-preserve-unknown-fields": True, **schema}
    return schema
