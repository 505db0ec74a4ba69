# SPDX-License-Identifier: Apache-2.0
"""The shape of an answer and of a refusal, for the OpenAPI document."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import get_args

from endcap_api.assigner import Reason
from endcap_api.experiment_config import ExperimentConfig
from endcap_api.runtime_config import GraphConfig
from endcap_api.v1alpha1.values import Column
from endcap_runtime.features.statuses import STATUS_NAMES
from endcap_runtime.graph.answer import WHO, readable_output
from endcap_runtime.graph.values import SCHEMAS, Json


def answer_schema(config: GraphConfig) -> Json:
    """The answer, with an object for each model step of the graph."""
    properties: Json = {"request_id": {"type": "string", "description": "Also in the header x-request-id."}}
    who = config.spec.api.request.get(WHO)
    if who is not None and who.items is None:
        properties[WHO] = SCHEMAS[who.type] | {"description": "As in the request."}
    for step in config.spec.steps:
        if step.model:
            properties[step.name] = _said(config.models[step.model.model].outputs, step.name)
    if config.experiments:
        properties["experiments"] = _experiments(config.experiments)
    return {
        "type": "object",
        "properties": {**properties, **_ANSWER},
        "required": ["request_id", "recommendations", "served_by", "degraded", "took_ms"],
    }


def _experiments(experiments: Mapping[str, ExperimentConfig]) -> Json:
    return {
        "type": "object",
        "description": "What each experiment said of the request. Absent where the graph has none.",
        "properties": {name: _assigned(each) for name, each in experiments.items()},
    }


def _assigned(experiment: ExperimentConfig) -> Json:
    names = [variant.name for variant in experiment.variants]
    return {
        "type": "object",
        "required": ["variant", "reason"],
        "properties": {
            "variant": {"type": "string", "enum": names, "description": "The one that was assigned."},
            "reason": {"type": "string", "enum": list(get_args(Reason))},
            "served": {
                "type": ["string", "null"],
                "enum": [*names, None],
                "description": "What served in its place, null for nothing; absent when it served itself.",
            },
        },
    }


def _said(outputs: Sequence[Column], step: str) -> Json:
    said = {column.name: _output(column) for column in outputs if readable_output(column)}
    return {
        "type": "object",
        "description": f"What step {step} said; absent when it failed.",
        "properties": said,
    }


def _output(column: Column) -> Json:
    element = SCHEMAS[(column.items or column).type]
    schema = element if column.items is None else {"type": "array", "items": element}
    return schema | ({"description": column.description} if column.description else {})


def _strings(text: str) -> Json:
    return {"type": "object", "additionalProperties": {"type": "string"}, "description": text}


_RECOMMENDATION: Json = {
    "type": "object",
    "required": ["position", "product", "reason", "sources"],
    "properties": {
        "position": {"type": "integer", "description": "1 is the best."},
        "product": {"type": "string", "description": "Name in the catalogue."},
        "reason": {"type": "string", "description": "Why, for a person."},
        "sources": {
            "type": "array",
            "items": {"type": "string"},
            "description": "The recall steps that found it, or what the fallback took it from.",
        },
    },
}
_DEGRADED: Json = {
    "type": "object",
    "required": ["step", "reason"],
    "properties": {
        "step": {"type": "string"},
        "reason": {"type": "string", "examples": ["timeout after 30 ms"]},
    },
}
_ANSWER: Json = {
    "recommendations": {"type": "array", "items": _RECOMMENDATION, "description": "Best first."},
    "served_by": _strings("The model and version behind each step."),
    "degraded": {
        "type": "array",
        "items": _DEGRADED,
        "description": "Steps that the answer had to do without; empty when all is well.",
    },
    "took_ms": {"type": "number", "description": "Milliseconds in the server."},
    "explain": {
        "type": "array",
        "items": {"$ref": "#/components/schemas/Explanation"},
        "description": "With ?explain=true: a line for each step that ran.",
    },
}
EXPLANATION: Json = {
    "type": "object",
    "required": ["step", "rule", "ms"],
    "properties": {
        "step": {"type": "string"},
        "rule": {"type": "string", "description": "What the step does, in the words of the graph."},
        "candidates_in": {"type": "integer"},
        "kept": {"type": "integer"},
        "unknown_items": {
            "type": "integer",
            "description": "Items of the model that the catalogue does not know; they are not among kept.",
        },
        "backfilled": {
            "type": "integer",
            "description": "How many of kept the select put back, or took from the fallback.",
        },
        "removed": {"type": "integer"},
        "removed_products": {
            "type": "array",
            "items": {"type": "string"},
            "description": "The first of them.",
        },
        "features": {
            "type": "array",
            "items": {"$ref": "#/components/schemas/FeatureUsed"},
            "description": "Of a step that looks features up: those that the graph reads.",
        },
        "experiments": {
            "type": "array",
            "items": {"$ref": "#/components/schemas/ExperimentUsed"},
            "description": "Of a step that experiments are on: what each said of the request.",
        },
        "model": {"type": "string", "description": "Model and version."},
        "failure": {"type": "string"},
        "ms": {"type": "number"},
    },
}
EXPERIMENT_USED: Json = {
    "type": "object",
    "required": ["name", "variant", "reason"],
    "properties": {
        "name": {"type": "string"},
        "variant": {"type": "string", "description": "The one that was assigned."},
        "reason": {"type": "string", "enum": list(get_args(Reason))},
        "served": {"type": "string", "description": "The one that served; absent for none."},
        "bucket": {"type": "integer", "description": "Of the unit, 0 to 9999; absent without a unit."},
        "failure": {"type": "string", "description": "Why the variant did not serve."},
    },
}
_WORTH: Json = {
    "value": {"description": "As the graph read it."},
    "status": {
        "type": "string",
        "enum": list(STATUS_NAMES),
        "description": "What the value is worth: all but PRESENT and TRUNCATED are the default, or not up to date.",
    },
}
FEATURE_USED: Json = {
    "type": "object",
    "required": ["name"],
    "description": "A feature of the request, with its value, or of the products of the answer.",
    "properties": {
        "name": {"type": "string"},
        **_WORTH,
        "products": {
            "type": "array",
            "items": {"type": "object", "properties": {"product": {"type": "string"}, **_WORTH}},
            "description": "The first products of the answer.",
        },
        "window": {
            "type": "object",
            "properties": {name: {"type": "string", "format": "date-time"} for name in ("from", "to")},
            "description": "The time that was aggregated, by the clock of the store.",
        },
        "description": {"type": "string"},
    },
}
PROBLEM: Json = {
    "type": "object",
    "description": "RFC 9457 problem details.",
    "required": ["type", "title", "status", "detail"],
    "properties": {
        "type": {"type": "string", "format": "uri-reference"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["field", "message"],
                "properties": {"field": {"type": "string"}, "message": {"type": "string"}},
            },
        },
    },
}
