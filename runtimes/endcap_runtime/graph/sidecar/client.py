# SPDX-License-Identifier: Apache-2.0
"""Calls to the sidecar over its UNIX socket, on the connections and under the rules of the calls to models."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson

from endcap_runtime.graph.sidecar.answers import Found, found_in
from endcap_runtime.graph.sidecar.questions import Question, body_of
from endcap_runtime.graph.upstream import Call, UpstreamFailed
from endcap_runtime.graph.upstream.connection import Response
from endcap_runtime.graph.upstream.exchange import Compose, ask
from endcap_runtime.graph.upstream.pool import Pool, Socket
from endcap_runtime.wire.faults import Malformed

SOCKET = "/run/endcap/features.sock"
_MAX_RESPONSE = 16 << 20
_MAX_AGE = 30.0
_OK, _ACCEPTED = 200, 202
_JSON = b"host: features\r\ncontent-type: application/json\r\n"
_LOOKUP = b"POST /v1/lookup HTTP/1.1\r\naccept: application/octet-stream\r\n" + _JSON
_RECORDS = b"POST /v1/records HTTP/1.1\r\n" + _JSON
_BUNDLES = b"GET /v1/bundles HTTP/1.1\r\nhost: features\r\n\r\n"


class Sidecar:
    """All calls of a process to its sidecar; every failure of one is an UpstreamFailed."""

    def __init__(self, socket: str = SOCKET) -> None:
        self._pool = Pool(Socket(socket), _MAX_RESPONSE, _MAX_AGE)

    async def lookup(self, questions: Sequence[Question], call: Call) -> list[Found]:
        """What is known of the entities of each question, asked for in one call. Raises UpstreamFailed."""
        tail = body_of(call.request_id, questions)
        head = _LOOKUP + call.headers

        def compose(left: int) -> bytes:
            # The sidecar has values to give also when its store has none in time, so it answers a little before us.
            body = b'{"timeout_ms":%d,%s' % (max(1, left * 4 // 5), tail)
            return b"%scontent-length: %d\r\n\r\n%s" % (head, len(body), body)

        response = await self._asked(compose, call.deadline, _OK)
        try:
            return found_in(response, [len(next(iter(each.keys.values()))) for each in questions])
        except Malformed as error:
            raise UpstreamFailed("malformed", _broken(error)) from error

    async def bundles(self, deadline: float) -> dict[str, list[str]]:
        """The digests of each bundle that the sidecar can be asked for, by name. Raises UpstreamFailed."""
        response = await self._asked(lambda _: _BUNDLES, deadline, _OK)
        try:
            known: dict[str, list[str]] = dict(orjson.loads(response.body)["known"])
        except (ValueError, KeyError, TypeError) as error:
            raise UpstreamFailed("malformed", _broken(error)) from error
        return known

    async def keep(self, record: bytes, deadline: float) -> None:
        """Hands over what a request served and writes back. Raises UpstreamFailed."""
        message = b"%scontent-length: %d\r\n\r\n%s" % (_RECORDS, len(record), record)
        await self._asked(lambda _: message, deadline, _ACCEPTED)

    async def _asked(self, compose: Compose, deadline: float, wanted: int) -> Response:
        response = await ask(self._pool, compose, deadline)
        if response.status != wanted:
            raise UpstreamFailed("status", f"answered {response.status}{_detail(response)}", response.status)
        return response

    async def aclose(self) -> None:
        """Closes every connection; calls in flight fail."""
        self._pool.close()


def _broken(error: Exception) -> str:
    return f"gave an answer that breaks its contract: {error}"[:500]


def _detail(response: Response) -> str:
    """The sidecar's own words, which are about its configuration; nothing of another process comes through here."""
    try:
        problem: Any = orjson.loads(response.body)
    except ValueError:
        return ""
    detail = problem.get("detail") if isinstance(problem, dict) else None
    return f": {detail[:200]}" if isinstance(detail, str) and detail else ""
