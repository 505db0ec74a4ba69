# SPDX-License-Identifier: Apache-2.0
"""What the model server says about itself: metadata, health, revision, metrics."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import orjson
from prometheus_client import CollectorRegistry

from endcap_runtime.asgi import Response
from endcap_runtime.model.served import Served
from endcap_runtime.observability.metrics import exposition
from endcap_runtime.server import Lifecycle

Page = Callable[[], Response]
EXTENSIONS = ["binary_tensor_data"]


def pages(served: Served, registry: CollectorRegistry, lifecycle: Lifecycle) -> Mapping[bytes, Page]:
    """The pages by their whole raw path; each takes GET."""
    model = f"/v2/models/{served.name}"
    own = f"{model}/versions/{served.version}"
    metadata = _constant(served.metadata())
    ready = _ready(lifecycle, {"name": served.name, "ready": True})
    return {
        b"/metrics": lambda: exposition(registry),
        b"/-/revision": _constant(served.serving()),
        b"/v2": _constant(orjson.dumps({"name": "endcap", "version": _version(), "extensions": EXTENSIONS})),
        b"/v2/health/live": _constant(orjson.dumps({"live": True})),
        b"/v2/health/ready": _ready(lifecycle, {"ready": True}),
        model.encode(): metadata,
        own.encode(): metadata,
        f"{model}/ready".encode(): ready,
        f"{own}/ready".encode(): ready,
    }


def _constant(body: bytes) -> Page:
    return lambda: Response(200, body)


def _ready(lifecycle: Lifecycle, value: dict[str, Any]) -> Page:
    def page() -> Response:
        return Response(200 if lifecycle.ready else 503, orjson.dumps(value | {"ready": lifecycle.ready}))

    return page


def _version() -> str:
    try:
        return version("endcap")
    except PackageNotFoundError:
        return "0"
