# SPDX-License-Identifier: Apache-2.0
"""The ingest pod's ASGI app. A path is compared whole and undecoded, so that a proxy before us and we read it alike."""

from __future__ import annotations

import logging
import re
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NamedTuple

import orjson
from prometheus_client import CollectorRegistry

from endcap_runtime.asgi import (
    Headers,
    Receive,
    Response,
    Scope,
    Send,
    headers_of,
    read_body,
    refuse_method,
    request_id,
    respond,
)
from endcap_runtime.features.ingest.bundles import look_up
from endcap_runtime.features.ingest.configuration import Configuration
from endcap_runtime.features.ingest.door import Door, away
from endcap_runtime.features.ingest.experiments.door import ExposureDoor
from endcap_runtime.features.ingest.experiments.pages import experiments, exposures, sums
from endcap_runtime.features.ingest.letters import dead_letters, replay, served
from endcap_runtime.features.ingest.rows import write_rows
from endcap_runtime.features.ingest.serving import Current, Serving
from endcap_runtime.features.ingest.status import views
from endcap_runtime.features.store import StoreUnavailable
from endcap_runtime.observability import logs
from endcap_runtime.observability.metrics import exposition
from endcap_runtime.problems import CLOSE, MEDIA_TYPE, RETRY_SOON, Problem
from endcap_runtime.server import Lifecycle

log = logging.getLogger("endcap.ingest")

MOST_EVENT_BYTES = 1 << 20
MOST_ROW_BYTES = 8 << 20
MOST_IN_FLIGHT = 64
MOST_WRITERS = 2  # a file of rows takes many times its size while it is read
_FEWER = "send fewer events or rows a request"
_ROWS = re.compile(rb"/v1/views/([a-z][-a-z0-9]{0,39})/rows")
_BUNDLE = re.compile(rb"/v1/bundles/([a-z][-a-z0-9]{0,39})")
EXPOSURES = b"/v1/exposures"
_EXPERIMENT = re.compile(rb"/v1/experiments/([0-9a-f]{1,64})")
_STARTING = "No configuration is loaded yet: GET /-/revision says why."

Page = Callable[[], Response]
Ask = Callable[[Serving, bytes], Awaitable[Response]]


class Doors(NamedTuple):
    """Where what is sent is checked and taken."""

    events: Door
    exposures: ExposureDoor


class IngestApp:
    """Takes events and rows, and answers what people ask."""

    def __init__(
        self,
        current: Current,
        configuration: Configuration,
        doors: Doors,
        registry: CollectorRegistry,
        lifecycle: Lifecycle,
    ) -> None:
        self._current, self._doors, self._lifecycle = current, doors, lifecycle
        self._requests, self._writers = _Places(MOST_IN_FLIGHT), _Places(MOST_WRITERS)
        self._pages: Mapping[bytes, Page] = {
            b"/livez": lambda: Response(200, b'{"live":true}'),
            b"/readyz": self._ready,
            b"/metrics": lambda: exposition(registry),
            b"/-/revision": configuration.report,
        }
        self._questions: Mapping[bytes, Ask] = {
            b"/v1/views": views,
            b"/v1/dead-letters": dead_letters,
            b"/v1/served": served,
            b"/v1/experiments": experiments,
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one HTTP request, whatever happens to it."""
        known = b""
        try:
            headers = headers_of(scope)
            known = request_id(headers)
            logs.request_id.set(known.decode())
            response = await self._answer(scope, receive, headers)
        except Problem as problem:
            response = _refusal(problem)
        except StoreUnavailable as error:
            response = _refusal(away(error))
        except Exception:
            log.exception("The request failed")
            response = _refusal(Problem(500, "Ingest failed; its log has the request's id."))
        closing = (CLOSE,) if self._lifecycle.draining and CLOSE not in response.headers else ()
        await respond(send, response, (b"x-request-id", known or request_id({})), *closing)

    async def _answer(self, scope: Scope, receive: Receive, headers: Headers) -> Response:
        path: bytes = scope["raw_path"]
        if page := self._pages.get(path):
            refuse_method(scope, "GET")
            return page()
        serving = self._current.known
        if serving is None:
            raise Problem(503, _STARTING, (), RETRY_SOON)
        with _place(self._requests):
            if ask := self._questions.get(path):
                refuse_method(scope, "GET")
                return await ask(serving, scope["query_string"])
            if path == EXPOSURES and scope["method"] == "GET":
                return await exposures(serving, scope["query_string"])
            if matched := _EXPERIMENT.fullmatch(path):
                refuse_method(scope, "GET")
                return await sums(serving, matched[1].decode(), scope["query_string"])
            return await self._taken(serving, scope, receive, headers)

    async def _taken(self, serving: Serving, scope: Scope, receive: Receive, headers: Headers) -> Response:
        path: bytes = scope["raw_path"]
        if path == b"/v1/events":
            body = await _body(scope, receive, headers, MOST_EVENT_BYTES)
            return await self._doors.events.take(serving, scope["headers"], headers, body)
        if path == EXPOSURES:
            body = await _body(scope, receive, headers, MOST_EVENT_BYTES)
            return await self._doors.exposures.take(serving, headers, body)
        if path == b"/v1/dead-letters/replay":
            return await replay(serving, await _body(scope, receive, headers, MOST_EVENT_BYTES))
        if matched := _ROWS.fullmatch(path):
            with _place(self._writers):
                body = await _body(scope, receive, headers, MOST_ROW_BYTES)
                return await write_rows(serving, matched[1].decode(), headers, body, self._current.now_ms())
        if matched := _BUNDLE.fullmatch(path):
            body = await _body(scope, receive, headers, MOST_EVENT_BYTES)
            return await look_up(serving, matched[1].decode(), body)
        raise Problem(404, "There is nothing at this path.")

    def _ready(self) -> Response:
        ready = self._lifecycle.ready
        return Response(200 if ready else 503, orjson.dumps({"ready": ready}))


@dataclass(slots=True)
class _Places:
    free: int


@contextmanager
def _place(places: _Places) -> Iterator[None]:
    """Bounds what bodies take of the memory: who finds no place is told at once. Raises Problem 503."""
    if places.free == 0:
        raise Problem(503, "Ingest has as many requests as it may: try again soon.", (), RETRY_SOON)
    places.free -= 1
    try:
        yield
    finally:
        places.free += 1


async def _body(scope: Scope, receive: Receive, headers: Headers, most: int) -> bytes:
    refuse_method(scope, "POST")
    if scope["query_string"]:
        raise Problem(422, "This path takes no query parameters.")
    return await read_body(receive, headers, most, _FEWER)


def _refusal(problem: Problem) -> Response:
    return Response(problem.status, problem.body(), MEDIA_TYPE, problem.headers)
