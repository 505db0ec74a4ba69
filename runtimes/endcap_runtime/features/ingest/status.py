# SPDX-License-Identifier: Apache-2.0
"""GET /v1/views: how far ingest is, and what each view was fed."""

from __future__ import annotations

from typing import Any

import orjson

from endcap_runtime.asgi import Response
from endcap_runtime.features.ingest.parameters import query_of
from endcap_runtime.features.ingest.serving import Serving
from endcap_runtime.features.layout import View
from endcap_runtime.features.store.counts import field_of

_COUNTS = ("since_ms", "updated_ms", "applied", "duplicate", "late", "future", "invalid", "rows")


async def views(serving: Serving, query_string: bytes) -> Response:
    """All views of the store, those that nothing came for with zeros."""
    query_of(query_string)
    pulse = await serving.streams.pulse()
    kept = await serving.streams.counts.all()
    told = {name: _told(view, kept.get(field_of(view), {})) for name, view in serving.compiled.views.items()}
    value = {
        "lag_ms": pulse.lag_ms,
        "backlog": pulse.backlog,
        "dead_letters": pulse.dead_letters,
        "views": told,
    }
    return Response(200, orjson.dumps(value))


def _told(view: View, counts: dict[str, int]) -> dict[str, Any]:
    return {"layout": view.digest, **{name: counts.get(name, 0) for name in _COUNTS}}
