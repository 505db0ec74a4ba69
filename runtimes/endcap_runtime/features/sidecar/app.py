# SPDX-License-Identifier: Apache-2.0
"""The pages of the sidecar: lookups on the socket, probes and metrics on the port."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Awaitable, Callable, Mapping

import orjson
from prometheus_client import CollectorRegistry

from endcap_runtime.asgi import Response
from endcap_runtime.features.lookup import Lookups, StoreRequired
from endcap_runtime.features.lookup.answer_json import answer_of, explained
from endcap_runtime.features.lookup.answer_tensors import message_of
from endcap_runtime.features.sidecar.configuration import Configuration
from endcap_runtime.features.sidecar.http import Request
from endcap_runtime.features.sidecar.lookup_request import DEFAULT_TIMEOUT_MS, bundle_request, lookup_request
from endcap_runtime.features.sidecar.record_request import record_request
from endcap_runtime.features.sidecar.records import Records
from endcap_runtime.observability.metrics import exposition
from endcap_runtime.problems import RETRY_SOON, Problem
from endcap_runtime.server import Lifecycle

log = logging.getLogger("endcap.features")

_BINARY = b"application/octet-stream"
_BUNDLE = re.compile(rb"/v1/bundles/([A-Za-z0-9.-]{1,253})")
# What is left of a caller's time goes to the evaluation and the way back.
_SHARE, _MARGIN_SECONDS = 0.8, 0.005

Page = Callable[[Request], Awaitable[Response]]


class SocketApp:
    """What a graph and a model ask for."""

    def __init__(self, lookups: Lookups, configuration: Configuration, records: Records) -> None:
        self._lookups, self._configuration, self._records = lookups, configuration, records
        self._pages: Mapping[bytes, tuple[bytes, Page]] = {
            b"/v1/lookup": (b"POST", self._look_up),
            b"/v1/records": (b"POST", self._record),
            b"/v1/bundles": (b"GET", self._bundles),
        }

    async def __call__(self, request: Request) -> Response:
        """Raises Problem."""
        if (found := self._pages.get(request.path)) is not None:
            method, page = found
            _refuse_method(request, method)
            return await page(request)
        if (bundle := _BUNDLE.fullmatch(request.path)) is not None:
            _refuse_method(request, b"POST")
            return await self._bundle(bundle[1].decode(), request)
        raise Problem(404, "There is nothing at this path.")

    async def _look_up(self, request: Request) -> Response:
        began = time.monotonic()
        self._refuse_start()
        asked = await lookup_request(request.body, self._configuration)
        try:
            found = await self._lookups.look_up(asked.wanted, began + _patience(asked.timeout_ms))
        except StoreRequired as required:
            raise Problem(503, str(required), (), RETRY_SOON) from required
        if request.headers.get(b"accept") == _BINARY:
            message = message_of(found)
            response = Response(200, message.body, _BINARY, message.headers)
        else:
            response = Response(200, orjson.dumps({"lookups": [answer_of(each) for each in found]}))
        self._lookups.metrics.lookup_seconds.observe(time.monotonic() - began)
        return response

    async def _bundle(self, name: str, request: Request) -> Response:
        self._refuse_start()
        asked = await bundle_request(name, request.body, self._configuration)
        deadline = time.monotonic() + _patience(DEFAULT_TIMEOUT_MS)
        try:
            (found,) = await self._lookups.look_up([asked.wanted], deadline)
        except StoreRequired as required:
            raise Problem(503, str(required), (), RETRY_SOON) from required
        return Response(200, orjson.dumps(explained(found) if asked.explain else answer_of(found)))

    async def _bundles(self, _request: Request) -> Response:
        configuration = self._configuration
        revision = configuration.revisions[0].revision if configuration.revisions else None
        value = {
            "revision": revision,
            "rejected": configuration.refusal,
            "bundles": configuration.digests,
            "known": configuration.known,
        }
        return Response(200, orjson.dumps(value))

    async def _record(self, request: Request) -> Response:
        self._refuse_start()
        record = await record_request(request.body, self._configuration, self._lookups.now_ms)
        self._records.add(record)
        return Response(202, b"{}")

    def _refuse_start(self) -> None:
        if not self._configuration.revisions:
            raise Problem(503, "No features are loaded yet: GET /v1/bundles says why.", (), RETRY_SOON)


class PortApp:
    """Probes and metrics; nothing that holds a value of anybody."""

    def __init__(
        self, lifecycle: Lifecycle, configuration: Configuration, registry: CollectorRegistry
    ) -> None:
        self._pages: Mapping[bytes, Callable[[], Response]] = {
            b"/livez": lambda: Response(200, b'{"live":true}'),
            b"/readyz": lambda: _readiness(lifecycle, configuration),
            b"/metrics": lambda: exposition(registry),
        }

    async def __call__(self, request: Request) -> Response:
        """Raises Problem."""
        if (page := self._pages.get(request.path)) is None:
            raise Problem(404, "There is nothing at this path.")
        _refuse_method(request, b"GET")
        return page()


def _readiness(lifecycle: Lifecycle, configuration: Configuration) -> Response:
    if lifecycle.ready:
        return Response(200, b'{"ready":true}')
    return Response(503, orjson.dumps({"ready": False, "rejected": configuration.refusal}))


def _refuse_method(request: Request, allowed: bytes) -> None:
    if request.method != allowed:
        raise Problem(405, f"This path takes {allowed.decode()}.", (), (b"allow", allowed))


def _patience(timeout_ms: int) -> float:
    """For how many seconds the store is waited for, of the time that the caller waits."""
    seconds = timeout_ms / 1000
    return max(seconds * _SHARE, seconds - _MARGIN_SECONDS)
