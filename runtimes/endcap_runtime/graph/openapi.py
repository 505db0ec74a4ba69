# SPDX-License-Identifier: Apache-2.0
"""The OpenAPI 3.1 document of a graph, made from its resource, so that it cannot say anything else than the server."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from endcap_api.runtime_config import GraphConfig
from endcap_api.v1alpha1.base import milliseconds
from endcap_api.v1alpha1.values import RequestField
from endcap_runtime.graph.answer_schema import (
    EXPERIMENT_USED,
    EXPLANATION,
    FEATURE_USED,
    PROBLEM,
    answer_schema,
)
from endcap_runtime.graph.catalogue import Catalogue
from endcap_runtime.graph.request import MAX_ITEMS
from endcap_runtime.graph.values import SCHEMAS, Json

_PROBLEMS = {
    "400": "The request is not one JSON object, or two parties could read it differently.",
    "413": "The body is larger than the graph allows.",
    "415": "The body is not application/json, or it is compressed.",
    "422": "A field does not fit; each is named, an unknown product with the names nearest to it.",
    "503": "The graph is busy, or neither its steps nor its fallback could answer; try again.",
}


def openapi(config: GraphConfig, catalogue: Catalogue) -> Json:
    """The document; the example names products of the catalogue."""
    spec = config.spec
    return {
        "openapi": "3.1.0",
        "info": {
            "title": config.name,
            "version": config.revision,
            "description": spec.description or "Recommends products, and says why.",
        },
        "paths": {spec.api.path: {"post": _operation(config, catalogue)}},
        "components": {
            "schemas": {
                "Request": request_schema(config),
                "Answer": answer_schema(config),
                "Explanation": EXPLANATION,
                "ExperimentUsed": EXPERIMENT_USED,
                "FeatureUsed": FEATURE_USED,
                "Problem": PROBLEM,
            }
        },
    }


def _operation(config: GraphConfig, catalogue: Catalogue) -> Json:
    return {
        "operationId": "recommend",
        "summary": "Recommend products",
        "description": f"Answers within {milliseconds(config.spec.deadline)} ms; a step that failed is named in "
        "`degraded`.",
        "parameters": [
            {
                "name": "explain",
                "in": "query",
                "description": "Adds what each step kept and removed, and how long it took.",
                "schema": {"type": "boolean", "default": False},
            }
        ],
        "requestBody": {"required": True, "content": {"application/json": _body(config, catalogue)}},
        "responses": {"200": _success(tried=bool(config.experiments)), **_failures()},
    }


def _body(config: GraphConfig, catalogue: Catalogue) -> Json:
    return {"schema": {"$ref": "#/components/schemas/Request"}, "example": example(config, catalogue)}


def _success(*, tried: bool) -> Json:
    headers = {
        "x-request-id": "The request's id: the caller's own, or a new one.",
        "endcap-revision": "The revision of the graph that answered.",
        "endcap-served-by": "The model and version behind each step, e.g. rank=basket-ranker@4.",
    }
    if tried:
        headers["endcap-experiments"] = (
            "The variant and why, of each experiment, as a dictionary of RFC 9651, e.g. "
            "ranker-v2=treatment;reason=assigned;served=control; served where another served, ?0 for none."
        )
    return {
        "description": "Recommendations, best first.",
        "headers": {
            name: {"description": text, "schema": {"type": "string"}} for name, text in headers.items()
        },
        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Answer"}}},
    }


def _failures() -> Json:
    content = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
    return {status: {"description": text, "content": content} for status, text in _PROBLEMS.items()}


def request_schema(config: GraphConfig) -> Json:
    fields = config.spec.api.request
    schema: Json = {
        "type": "object",
        "additionalProperties": False,
        "properties": {name: _field(field) for name, field in fields.items()},
    }
    if required := [name for name, field in fields.items() if field.required]:
        schema["required"] = required
    return schema


def _field(field: RequestField) -> Json:
    schema: Json = dict(SCHEMAS[field.type]) if field.items is None else _array(field)
    bounds = {
        "enum": field.enum,
        "minimum": field.minimum,
        "maximum": field.maximum,
        "default": field.default,
    }
    schema |= {name: bound for name, bound in bounds.items() if bound is not None}
    text = " ".join(filter(None, [field.description, _hint(field)]))
    return schema | ({"description": text} if text else {})


def _array(field: RequestField) -> Json:
    assert field.items is not None  # noqa: S101 (the caller asked)
    return {
        "type": "array",
        "items": dict(SCHEMAS[field.items.type]),
        "maxItems": field.max_items or MAX_ITEMS,
    }


def _hint(field: RequestField) -> str:
    product = field.type == "product" or (field.items is not None and field.items.type == "product")
    return "By the name in the catalogue." if product else ""


def example(config: GraphConfig, catalogue: Catalogue) -> Json:
    """A request that is valid against this catalogue: its required and product fields, and what has a default."""
    names = catalogue.names(np.arange(min(2, catalogue.size), dtype=np.int32))
    fields = config.spec.api.request
    return {name: _example(field, names) for name, field in fields.items() if _shown(field)}


def _shown(field: RequestField) -> bool:
    return field.required or field.default is not None or bool(_hint(field))


def _example(field: RequestField, names: Sequence[str]) -> Any:
    if field.default is not None:
        return field.default
    if field.enum:
        return field.enum[0]
    if _hint(field):
        return list(names)[: field.max_items] if field.items is not None else names[0]
    if field.items is not None:
        return []
    return _plain(field)


def _plain(field: RequestField) -> Any:
    least = field.minimum if field.minimum is not None else min(field.maximum or 1, 1)
    return {"string": "string", "integer": int(least), "number": float(least), "boolean": False}[field.type]
