# SPDX-License-Identifier: Apache-2.0
"""What people ask of the streams: dead letters, their replay, and the serving log."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Any, NamedTuple, Self

import orjson

from endcap_runtime.asgi import Response
from endcap_runtime.features.ingest.paging import PAGE, all_of, page_of, text_in, value_in
from endcap_runtime.features.ingest.parameters import (
    entry_id_of,
    limit_of,
    object_of,
    query_of,
    refused,
    text_of,
)
from endcap_runtime.features.ingest.serving import Serving
from endcap_runtime.features.ingest.streams import Fields
from endcap_runtime.features.lookup.answer_json import instant
from endcap_runtime.problems import RETRY_SOON, Problem

REASONS = ("late", "future", "invalid", "expired")
_MOST_IDS = 1000


async def dead_letters(serving: Serving, query_string: bytes) -> Response:
    """Oldest first; `next` is the `after` of the next page, null on the last."""
    query = query_of(query_string, "reason", "view", "after", "limit")
    after = entry_id_of("after", query["after"]) if "after" in query else None
    wanted = _Wanted.of(query)
    limit = limit_of(query)
    found: list[dict[str, Any]] = []
    async for entry_id, fields in _dead(serving, after):
        if wanted.holds(fields):
            if len(found) == limit:
                return page_of("events", found, found[-1]["id"])
            found.append(_letter(entry_id, fields))
    return page_of("events", found, None)


async def replay(serving: Serving, body: bytes) -> Response:
    """Puts letters back into the stream, so many at a time; those that come meanwhile are left alone.

    Raises Problem 429 once too many events wait; what went back until then is said.
    """
    asked = object_of(body, "reason", "view", "ids")
    wanted, ids = _Wanted.of(asked), _ids(asked.get("ids"))
    chosen: list[bytes] = []
    replayed = 0
    async for entry_id, fields in _dead(serving, None):
        if wanted.holds(fields) and (ids is None or entry_id in ids):
            chosen.append(entry_id)
        if len(chosen) == PAGE:
            replayed += await _put_back(serving, chosen, replayed)
            chosen = []
    replayed += await _put_back(serving, chosen, replayed)
    return Response(200, orjson.dumps({"replayed": replayed}))


async def _put_back(serving: Serving, letters: list[bytes], before: int) -> int:
    if not letters:
        return 0
    replayed = await serving.streams.replay(letters, serving.compiled.store.max_backlog)
    if replayed is None:
        told = f"As many events wait as may; {before} went back: replay the rest later."
        raise Problem(429, told, (), RETRY_SOON)
    return replayed


async def served(serving: Serving, query_string: bytes) -> Response:
    """The serving log, oldest first."""
    query = query_of(query_string, "request_id", "after", "limit")
    after = entry_id_of("after", query["after"]) if "after" in query else None
    request_id = query.get("request_id")
    limit = limit_of(query)
    found: list[dict[str, Any]] = []
    async for entry_id, fields in all_of(serving, serving.streams.served, after):
        if request_id is None or fields.get(b"r", b"").decode(errors="replace") == request_id:
            if len(found) == limit:
                return page_of("served", found, found[-1]["id"])
            found.append(_record(entry_id, fields))
    return page_of("served", found, None)


class _Wanted(NamedTuple):
    """Which letters are asked for."""

    reason: str | None
    view: str | None

    @classmethod
    def of(cls, asked: Mapping[str, Any]) -> Self:
        reason = text_of("reason", asked.get("reason"))
        if reason is not None and reason not in REASONS:
            raise refused("reason", f"must be one of {', '.join(REASONS)}")
        return cls(reason, text_of("view", asked.get("view")))

    def holds(self, fields: Fields) -> bool:
        return all(
            wanted is None or fields.get(name) == wanted.encode()
            for name, wanted in ((b"reason", self.reason), (b"view", self.view))
        )


def _ids(given: Any) -> set[bytes] | None:
    if given is None:
        return None
    if not isinstance(given, list) or len(given) > _MOST_IDS:
        raise refused("ids", f"must be a list of at most {_MOST_IDS} ids")
    return {entry_id_of("ids", one) for one in given}


def _dead(serving: Serving, after: bytes | None) -> AsyncIterator[tuple[bytes, Fields]]:
    return all_of(serving, serving.streams.dead, after)


def _letter(entry_id: bytes, fields: Fields) -> dict[str, Any]:
    arrival = fields.get(b"arrival", b"0")
    return {
        "id": entry_id.decode(),
        "reason": text_in(fields, b"reason"),
        "message": text_in(fields, b"message"),
        "view": text_in(fields, b"view"),
        "arrival": instant(int(arrival)),
        "event": value_in(fields, b"e"),
    }


def _record(entry_id: bytes, fields: Fields) -> dict[str, Any]:
    return {"id": entry_id.decode(), "request_id": text_in(fields, b"r"), "record": value_in(fields, b"v")}
