# SPDX-License-Identifier: Apache-2.0
"""What a person or a tool reads about a graph: OpenAPI, and the same as a page. Made once a revision."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import orjson

from endcap_runtime.asgi import Response
from endcap_runtime.graph.openapi import openapi

if TYPE_CHECKING:
    from endcap_runtime.graph.compile import Pipeline


def pages(pipeline: Pipeline) -> Mapping[bytes, Response]:
    """By whole path; each takes GET."""
    document = openapi(pipeline.config, pipeline.catalogue)
    return {b"/openapi.json": Response(200, orjson.dumps(document))}
