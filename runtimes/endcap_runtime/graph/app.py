# SPDX-License-Identifier: Apache-2.0
"""The engine's ASGI app: one path that recommends, a few pages, and strict about both.

A path is compared whole and undecoded, so that a proxy before us and we read it alike. A request keeps the pipeline
that it began with, so a reload changes nothing under it.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from time import monotonic

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
    refuse_media_type,
    refuse_method,
    request_id,
    respond,
)
from endcap_runtime.graph.after import ANSWERED, After
from endcap_runtime.graph.attended import BODY_SECONDS, Attendance, Left, TooSlow
from endcap_runtime.graph.compile import Pipeline
from endcap_runtime.graph.execute import execute
from endcap_runtime.graph.experiments.forcing import HEADER as FORCE
from endcap_runtime.graph.experiments.forcing import NO_KEY, NOTHING, ForceKey, forced
from endcap_runtime.graph.experiments.telling import header
from endcap_runtime.graph.failures import NoAnswer
from endcap_runtime.graph.metrics import GraphMetrics
from endcap_runtime.graph.query import Query
from endcap_runtime.graph.records import RecordForm
from endcap_runtime.graph.serving import Served, Serving
from endcap_runtime.graph.sidecar import Records
from endcap_runtime.graph.upstream import Call
from endcap_runtime.observability import logs
from endcap_runtime.observability.metrics import exposition
from endcap_runtime.problems import CLOSE, MEDIA_TYPE, RETRY_SOON, FieldError, Problem
from endcap_runtime.server import Lifecycle

log = logging.getLogger("endcap.graph")

_CLIENT_LEFT = 499
_TRACEPARENT = re.compile(rb"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")
_SHORTER = "send shorter lists and texts, or raise spec.limits.bodyBytes"
_NOTHING_HERE = "There is nothing at this path."
_STARTING = "No revision of the graph is loaded yet: GET /-/revision says why."

Page = Callable[[], Response]


@dataclass(slots=True)
class _Asked:
    """One request on its way; `query` is there once it has been read, whatever becomes of it.

    arrived: seconds of the monotonic clock. seconds, status: of its end.
    """

    served: Served
    arrived: float
    known: bytes = b""
    trace: str | None = None
    explain: bool = False
    forced: Mapping[str, str] = field(default_factory=lambda: NOTHING)
    query: Query | None = None
    degraded: bool = False
    seconds: float = 0.0
    status: int = 0

    def reads(self, body: bytes) -> Query:
        """The query that a body is, with what its experiments say of it. Raises Problem."""
        pipeline = self.served.pipeline
        call = Call(self.arrived + pipeline.deadline, self.known.decode(), self.trace)
        checked = pipeline.request.read(body)
        query = Query(checked.values, checked.keys, pipeline.catalogue, call, self.explain)
        if pipeline.experiments is not None:
            query.assignments = pipeline.experiments.assign(checked.values, checked.given, self.forced)
        return query

    def ends(self, status: int) -> None:
        self.status, self.seconds = status, monotonic() - self.arrived
        self.served.requests.seen(status, self.seconds)


class GraphApp:
    """Recommends, and shows what it serves. Requests in flight are counted against the graph's own limit."""

    def __init__(  # noqa: PLR0913 (what it serves, whom it tells, and what follows)
        self,
        serving: Serving,
        metrics: GraphMetrics,
        registry: CollectorRegistry,
        lifecycle: Lifecycle,
        records: Records,
        *,
        force_key: ForceKey = NO_KEY,
        after: Sequence[After] = (),
    ) -> None:
        self._serving, self._metrics, self._lifecycle, self._records = serving, metrics, lifecycle, records
        self._force_key, self._after = force_key, after
        self._in_flight = 0
        self._pages: Mapping[bytes, Page] = {
            b"/livez": lambda: Response(200, b'{"live":true}'),
            b"/readyz": self._ready,
            b"/metrics": lambda: exposition(registry),
            b"/-/revision": serving.report,
            b"/-/experiments": self._experiments,
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one HTTP request, whatever happens to it."""
        served = self._serving.served
        if served is not None and scope["raw_path"] == served.path:
            await self._recommend(served, scope, receive, send)
            return
        known = b""
        try:
            headers = headers_of(scope)
            known = request_id(headers)
            response = self._page(served, scope)
        except Problem as problem:
            response = _refusal(problem)
        await self._send(send, response, known or request_id({}))

    def _page(self, served: Served | None, scope: Scope) -> Response:
        path = scope["raw_path"]
        if page := self._pages.get(path):
            refuse_method(scope, "GET")
            return page()
        if served is None:
            raise Problem(503, _STARTING, (), RETRY_SOON)
        if (shown := served.pages.get(path)) is None:
            raise Problem(404, _NOTHING_HERE)
        refuse_method(scope, "GET")
        return shown

    def _ready(self) -> Response:
        ready = self._lifecycle.ready
        return Response(200 if ready else 503, orjson.dumps({"ready": ready}))

    def _experiments(self) -> Response:
        page = self._metrics.experiments.page(self._serving.experiments)
        return Response(200, orjson.dumps(page.dump()))

    async def _recommend(self, served: Served, scope: Scope, receive: Receive, send: Send) -> None:
        asked = _Asked(served, monotonic())
        try:
            response = await self._response(asked, scope, receive)
        except Left:
            asked.ends(_CLIENT_LEFT)
        else:
            asked.ends(response.status)
            await self._send(send, response, asked.known or request_id({}), served.revision)
        if asked.query is not None:
            self._follow(asked, asked.query)

    async def _response(self, asked: _Asked, scope: Scope, receive: Receive) -> Response:
        """The answer, or why there is none. Raises Left."""
        try:
            return _answer(asked, await self._answered(asked, scope, receive))
        except Problem as problem:
            return _refusal(problem)
        except TooSlow:
            return _refusal(Problem(408, f"The body did not arrive within {BODY_SECONDS:g} s.", (), CLOSE))
        except NoAnswer as nothing:
            return _refusal(_unanswered(nothing))
        except Left:
            raise
        except Exception:
            log.exception("The engine failed")
            return _refusal(Problem(500, "The engine failed; its log has the request's id."))

    async def _answered(self, asked: _Asked, scope: Scope, receive: Receive) -> Query:
        headers = headers_of(scope)
        asked.known = request_id(headers)
        logs.request_id.set(asked.known.decode())
        refuse_method(scope, "POST")
        refuse_media_type(headers, b"application/json")
        asked.explain = _explain(scope["query_string"])
        asked.trace = _trace(headers)
        if FORCE in headers:
            asked.forced = self._forced(asked.served.pipeline, scope)
        limits = asked.served.pipeline.config.spec.limits
        with Attendance(receive) as attendance:
            body = await read_body(receive, headers, limits.body_bytes, _SHORTER)
            attendance.working()
            # Only now it takes a place: a request that is slow to arrive keeps nobody else out.
            self._admit(limits.concurrency)
            try:
                asked.query = asked.reads(body)
                asked.query = await execute(asked.served.pipeline, asked.query)
                return asked.query
            finally:
                self._in_flight -= 1

    def _forced(self, pipeline: Pipeline, scope: Scope) -> Mapping[str, str]:
        """The variants that a request names itself. Raises Problem 422."""
        if pipeline.experiments is None:
            return NOTHING
        return forced(scope["headers"], self._force_key, pipeline.experiments.variants)

    def _follow(self, asked: _Asked, query: Query) -> None:
        pipeline, seconds, status = asked.served.pipeline, asked.seconds, asked.status
        if query.assignments:
            self._metrics.experiments.request(
                pipeline.config.name,
                query.assignments,
                seconds,
                answered=status == ANSWERED,
                degraded=asked.degraded,
            )
        if status == ANSWERED:
            self._remember(pipeline.records, query)
        for after in self._after:
            try:
                after(pipeline, query, seconds, status)
            except Exception:
                log.exception("What follows an answer failed")

    def _remember(self, form: RecordForm, query: Query) -> None:
        """Behind the answer, which it cannot fail any more."""
        try:
            record = form.of(query)
        except Exception:
            log.exception("The record of a request could not be made")
            form.dropped.inc()
        else:
            if record is not None:
                self._records.put(record, form.dropped)

    def _admit(self, most: int) -> None:
        """Refuses what would only wait: a late answer is worth nothing to a shopper."""
        if self._in_flight >= most:
            raise Problem(
                503, "The graph has as many requests as it may: try again in a second.", (), RETRY_SOON
            )
        self._in_flight += 1

    async def _send(self, send: Send, response: Response, known: bytes, *more: tuple[bytes, bytes]) -> None:
        closing = (CLOSE,) if self._lifecycle.draining and CLOSE not in response.headers else ()
        await respond(send, response, (b"x-request-id", known), *more, *closing)


def _trace(headers: Headers) -> str | None:
    """The caller's trace, passed on when it is one."""
    given = headers.get(b"traceparent")
    return given.decode() if given and _TRACEPARENT.fullmatch(given) else None


def _explain(query_string: bytes) -> bool:
    """The one query parameter that there is. Raises Problem 422 for any other."""
    if not query_string:
        return False
    if query_string in (b"explain=true", b"explain=false"):
        return query_string == b"explain=true"
    name = query_string.split(b"=", 1)[0][:64].decode("latin-1")
    error = FieldError(name, "is not a query parameter here: only explain=true is")
    raise Problem(422, "The query string does not fit.", [error])


def _answer(asked: _Asked, query: Query) -> Response:
    body = asked.served.pipeline.answer.body(query, (monotonic() - asked.arrived) * 1000)
    asked.degraded = bool(body["degraded"])
    by = ",".join(f"{step}={model}" for step, model in body["served_by"].items())
    headers = [(b"endcap-served-by", by.encode())]
    if query.assignments:
        headers.append(header(query.assignments))
    return Response(200, orjson.dumps(body), headers=headers)


def _refusal(problem: Problem) -> Response:
    return Response(problem.status, problem.body(), MEDIA_TYPE, problem.headers)


def _unanswered(nothing: NoAnswer) -> Problem:
    errors = [FieldError(step, reason) for step, reason in nothing.failures]
    return Problem(503, f"No answer without these steps: {nothing}", errors, RETRY_SOON)
