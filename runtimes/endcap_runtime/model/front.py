# SPDX-License-Identifier: Apache-2.0
"""The ASGI app in front of BentoML's: predictions go straight to the batching dispatcher.

A path is compared whole and undecoded, so that a proxy before us and we read it alike.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import NamedTuple

from prometheus_client import CollectorRegistry

from endcap_runtime.asgi import (
    App,
    Headers,
    Receive,
    Response,
    Scope,
    Send,
    ambiguous,
    headers_of,
    read_body,
    refuse_media_type,
    refuse_method,
    request_id,
    respond,
)
from endcap_runtime.bento import Submit
from endcap_runtime.model.counters import Counters
from endcap_runtime.model.dialects import Dialect, OpenInference, PlainJson
from endcap_runtime.model.failures import ModelFailed
from endcap_runtime.model.job import Job
from endcap_runtime.model.pages import Page, pages
from endcap_runtime.model.queue import Queue, deadline_of
from endcap_runtime.model.served import Served
from endcap_runtime.problems import CLOSE, Problem
from endcap_runtime.server import Lifecycle

log = logging.getLogger("endcap.model")


class Limits(NamedTuple):
    """Bytes of a body, and requests that wait for the model, above which a request is refused."""

    body: int = 8 * 1024 * 1024
    in_flight: int = 512


class Front:
    """Answers predictions, metadata, revision and metrics; all else is BentoML's."""

    def __init__(
        self,
        served: Served,
        counters: Counters,
        registry: CollectorRegistry,
        lifecycle: Lifecycle,
        limits: Limits,
    ) -> None:
        self._counters = counters
        self._lifecycle = lifecycle
        self._limits = limits
        self._label = (b"endcap-model", served.label.encode())
        self._json, self._oip = PlainJson(served), OpenInference(served)
        self._predictions = _predictions(served, self._json, self._oip)
        self._pages = pages(served, registry, lifecycle)

    def before(self, native: App, submit: Submit | None) -> App:
        """The whole app: this front, with BentoML's app behind it."""
        if submit is None:
            raise TypeError("a model is served through batching")
        queue = Queue(submit, self._limits.in_flight, self._counters)

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] != "http":
                await native(scope, receive, send)
            elif (dialect := self._predictions.get(scope["raw_path"])) is not None:
                await self._predict(dialect, queue, scope, receive, send)
            else:
                await self._other(native, scope, receive, send)

        return app

    async def _predict(
        self, dialect: Dialect, queue: Queue, scope: Scope, receive: Receive, send: Send
    ) -> None:
        """Answers one prediction, whatever happens to it."""
        known = b""
        try:
            headers = headers_of(scope)
            known = request_id(headers)
            refuse_method(scope, "POST")
            response = await self._prediction(dialect, queue, receive, headers, known.decode())
        except Problem as problem:
            response = dialect.refuse(problem)
        except ModelFailed as failed:
            self._counters.failure(failed.phase)
            response = dialect.refuse(Problem(500, str(failed)))
        except Exception:
            log.exception("The server failed", extra={"request_id": known.decode()})
            response = dialect.refuse(Problem(500, "The server failed; its log has the request's id."))
        self._counters.request(dialect.name, response.status)
        await self._send(send, response, known or request_id({}))

    async def _prediction(
        self, dialect: Dialect, queue: Queue, receive: Receive, headers: Headers, known: str
    ) -> Response:
        refuse_media_type(headers, *dialect.media_types)
        deadline = deadline_of(headers)
        asked = dialect.read(await read_body(receive, headers, self._limits.body), headers)
        degraded: set[str] = set()
        job = Job(asked.inputs, asked.rows, deadline, known, headers.get(b"traceparent"), degraded)
        response = asked.encode(await queue.outputs(job))
        return _without(response, degraded) if degraded else response

    async def _other(self, native: App, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers a page of ours, or lets BentoML answer."""
        try:
            page = self._page(scope)
        except Problem as problem:
            self._counters.request("other", problem.status)
            dialect: Dialect = self._oip if scope["raw_path"].startswith(b"/v2") else self._json
            await self._send(send, dialect.refuse(problem), request_id({}))
            return
        if page is None:
            await native(scope, receive, send)
        else:
            await self._send(send, page(), request_id(dict(scope["headers"])))

    def _page(self, scope: Scope) -> Page | None:
        """None for what is BentoML's; raises Problem for what is nobody's, ambiguous, or not JSON."""
        headers, path = headers_of(scope), scope["raw_path"]
        if (page := self._pages.get(path)) is not None:
            refuse_method(scope, "GET")
            return page
        if path.startswith(b"/v2") or ambiguous(path):
            raise Problem(404, "There is nothing at this path.")
        if scope["method"] not in ("GET", "HEAD"):
            refuse_media_type(headers, b"application/json")
        return None

    async def _send(self, send: Send, response: Response, known: bytes) -> None:
        more = [(b"x-request-id", known), self._label]
        if self._lifecycle.draining and CLOSE not in response.headers:
            more.append(CLOSE)
        await respond(send, response, *more)


def _without(response: Response, degraded: set[str]) -> Response:
    """The same answer, which says what it had to do without."""
    lacking = (b"endcap-degraded", ", ".join(sorted(degraded)).encode())
    return response._replace(headers=(*response.headers, lacking))


def _predictions(served: Served, plain: Dialect, oip: Dialect) -> Mapping[bytes, Dialect]:
    model = f"/v2/models/{served.name}"
    return {
        b"/predict": plain,
        f"{model}/infer".encode(): oip,
        f"{model}/versions/{served.version}/infer".encode(): oip,
    }
