# SPDX-License-Identifier: Apache-2.0
"""What a person or a tool reads about a graph: OpenAPI, and the same as a page. Made once a revision."""

from __future__ import annotations

from collections.abc import Mapping

import orjson

from endcap_runtime.asgi import Response
from endcap_runtime.graph.compile import Pipeline
from endcap_runtime.graph.docs import docs_page
from endcap_runtime.graph.openapi import openapi


def pages(pipeline: Pipeline) -> Mapping[bytes, Response]:
    """By whole path; each takes GET."""
    document = openapi(pipeline.config, pipeline.catalogue)
    page = docs_page(pipeline, document)
    return {b"/openapi.json": Response(200, orjson.dumps(document)), b"/docs": page, b"/": page}
