# SPDX-License-Identifier: Apache-2.0
"""Streams as people read them: a page at a time, oldest first."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import orjson

from endcap_runtime.asgi import Response
from endcap_runtime.features.ingest.group import Fields
from endcap_runtime.features.ingest.serving import Serving
from endcap_runtime.wire.faults import Malformed
from endcap_runtime.wire.json_columns import loads

PAGE = 500


async def all_of(serving: Serving, stream: bytes, after: bytes | None) -> AsyncIterator[tuple[bytes, Fields]]:
    """The entries that are there now, a page at a time."""
    last = await serving.streams.last(stream)
    while last is not None:
        page = await serving.streams.page(stream, after, PAGE, last)
        for row in page:
            yield row
        if len(page) < PAGE:
            return
        after = page[-1][0]


def text_in(fields: Fields, name: bytes) -> str:
    return fields.get(name, b"").decode(errors="replace")


def value_in(fields: Fields, name: bytes) -> Any:
    """The JSON value, or the text of what is none."""
    try:
        return loads(fields.get(name, b""))
    except Malformed:
        return text_in(fields, name)


def page_of(name: str, found: list[dict[str, Any]], after: str | None) -> Response:
    return Response(200, orjson.dumps({name: found, "next": after}))
