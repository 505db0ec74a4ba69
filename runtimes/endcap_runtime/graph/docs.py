# SPDX-License-Identifier: Apache-2.0
"""The documentation page of a graph: rendered on the server, without scripts, everything escaped.

The content security policy allows the page's own style by its hash and nothing else, so that even a hole in the
escaping could load or run nothing.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jinja2
import orjson
from markupsafe import Markup

from endcap_api.assignment import BUCKETS, parse_ranges, size
from endcap_api.v1alpha1.base import milliseconds
from endcap_api.v1alpha1.values import RequestField
from endcap_runtime.asgi import Response
from endcap_runtime.graph.compile import Pipeline
from endcap_runtime.graph.explain import rules
from endcap_runtime.graph.openapi import example
from endcap_runtime.graph.values import Json

_STYLE = """
body{font:16px/1.5 system-ui,sans-serif;color:#1b1b1b;background:#fff;margin:0}
main{max-width:52rem;margin:0 auto;padding:2rem 1rem}
table{border-collapse:collapse;width:100%}
th,td{text-align:left;vertical-align:top;padding:.3rem .8rem .3rem 0;border-bottom:1px solid #ddd}
pre{background:#f5f5f5;padding:.8rem;overflow:auto}
.revision{color:#666}
@media (prefers-color-scheme:dark){body{color:#eee;background:#181818}pre{background:#262626}
th,td{border-color:#444}a{color:#9cf}}
"""
_HASH = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
_HEADERS = (
    (
        b"content-security-policy",
        f"default-src 'none'; style-src 'sha256-{_HASH}'; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'".encode(),
    ),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
)
_BUCKETS_PER_PERCENT = BUCKETS / 100
_FAILURES = {
    "skip": "goes on without it",
    "keepOrder": "keeps the order so far",
    "defaults": "takes the defaults of its features",
    "fail": "goes to the fallback",
}


def docs_page(pipeline: Pipeline, document: Json) -> Response:
    """The page that says what the OpenAPI document says."""
    body = _template().render(_values(pipeline, document))
    return Response(200, body.encode(), b"text/html; charset=utf-8", _HEADERS)


def _template() -> jinja2.Template:
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    return environment.from_string(Path(__file__).with_name("docs.html.j2").read_text(encoding="utf-8"))


def _values(pipeline: Pipeline, document: Json) -> dict[str, Any]:
    config = pipeline.config
    return {
        "name": config.name,
        "style": Markup(_STYLE),  # noqa: S704 (a constant of this module)
        "description": config.spec.description,
        "path": config.spec.api.path,
        "deadline_ms": milliseconds(config.spec.deadline),
        "fields": [_field(name, field) for name, field in config.spec.api.request.items()],
        "example": orjson.dumps(example(config, pipeline.catalogue), option=orjson.OPT_INDENT_2).decode(),
        "steps": list(_steps(pipeline)),
        "experiments": list(_experiments(pipeline)),
        "answer": list(_answer(document)),
        "revision": pipeline.revision,
    }


def _field(name: str, field: RequestField) -> dict[str, str]:
    kind = f"array of {field.items.type}" if field.items is not None else field.type
    return {"name": name, "type": kind, "bounds": _bounds(field), "description": field.description or ""}


def _bounds(field: RequestField) -> str:
    said = [
        "required" if field.required else "",
        f"one of {', '.join(field.enum)}" if field.enum else "",
        f"from {field.minimum:g}" if field.minimum is not None else "",
        f"up to {field.maximum:g}" if field.maximum is not None else "",
        f"default {orjson.dumps(field.default).decode()}" if field.default is not None else "",
    ]
    return ", ".join(filter(None, said))


def _steps(pipeline: Pipeline) -> Iterator[dict[str, str]]:
    said = rules(pipeline.config)
    for step in pipeline.config.spec.steps:
        failure = "" if step.select else _FAILURES[step.failure]
        yield {"name": step.name, "rule": said[step.name], "failure": failure}


def _experiments(pipeline: Pipeline) -> Iterator[dict[str, Any]]:
    said = pipeline.answer.variant_rules
    for name, each in (pipeline.config.experiments or {}).items():
        variants = [
            {
                "name": variant.name,
                "rule": said.get((name, variant.name), "the step as above"),
                "share": f"{size(parse_ranges(variant.buckets)) / _BUCKETS_PER_PERCENT:g} %",
            }
            for variant in each.variants
        ]
        yield {"name": name, "step": each.step, "mode": each.mode, "variants": variants}


def _answer(document: Json) -> Iterator[dict[str, str]]:
    for name, schema in document["components"]["schemas"]["Answer"]["properties"].items():
        yield {"name": name, "description": schema.get("description", "")}
