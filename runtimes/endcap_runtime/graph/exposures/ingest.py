# SPDX-License-Identifier: Apache-2.0
"""The ingest of one feature store, as a graph tells it exposures: on one connection, under the rules of all calls."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator, Sequence
from typing import Any
from urllib.parse import urlsplit

import orjson

from endcap_runtime.graph.upstream import UpstreamFailed
from endcap_runtime.graph.upstream.connection import Response
from endcap_runtime.graph.upstream.exchange import ask
from endcap_runtime.graph.upstream.pool import Origin, Pool

PATH = "/v1/exposures"
_MAX_RESPONSE = 1 << 20
_MAX_AGE = 30.0
_SECONDS = 5.0
_LONGEST_PAUSE = 60.0
_HTTP_PORT = 80
_ACCEPTED, _TOO_LARGE, _UNPROCESSABLE = 202, 413, 422
_SECONDS_AHEAD = re.compile(rb"[0-9]{1,5}")
# The field that is wrong, and never what stands in it: that may be a unit.
_FIELD = re.compile(r"exposures\[(\d{1,6})\](?:\.[a-z_]{1,40}(?:\[\d{1,6}\])?){0,4}")


class Later(Exception):
    """Nothing was taken for sure, and the same may be taken later; `seconds` is the pause that was asked for."""

    def __init__(self, why: str, seconds: float = 0.0) -> None:
        super().__init__(why)
        self.seconds = seconds


class Refused(Exception):
    """Nothing was taken, and it never will be so; `places` are the exposures that do not fit, as far as it was said."""

    def __init__(self, why: str, places: frozenset[int] = frozenset()) -> None:
        super().__init__(why)
        self.places = places


def origin_of(url: str) -> Origin:
    """Raises ValueError where it is no http URL."""
    address = urlsplit(url)
    if address.scheme != "http" or address.hostname is None:
        raise ValueError("the URL of an ingest is http://host[:port]")
    return Origin(address.hostname, address.port or _HTTP_PORT)


class Ingest:
    """`url` is that of the Service. Raises ValueError where it is no http URL."""

    def __init__(self, url: str) -> None:
        self._pool = Pool(origin_of(url), _MAX_RESPONSE, _MAX_AGE)
        address = urlsplit(url)
        head = f"POST {address.path.rstrip('/')}{PATH} HTTP/1.1\r\nhost: {address.netloc}\r\n"
        self._head = head.encode() + b"content-type: application/json\r\n"

    async def take(self, exposures: Sequence[bytes]) -> None:
        """Hands over exposures, each a JSON object. Raises Later or Refused."""
        body = b'{"exposures":[%s]}' % b",".join(exposures)
        message = b"%scontent-length: %d\r\n\r\n%s" % (self._head, len(body), body)
        try:
            response = await ask(self._pool, lambda _: message, asyncio.get_running_loop().time() + _SECONDS)
        except UpstreamFailed as failed:
            raise Later(failed.message) from None
        if response.status != _ACCEPTED:
            raise _not_taken(response)

    def close(self) -> None:
        self._pool.close()


def _not_taken(response: Response) -> Later | Refused:
    why = f"answered {response.status}"
    if response.status == _TOO_LARGE:
        return Refused(why)
    if response.status == _UNPROCESSABLE:
        fields = list(_fields(response.body))
        named = "".join(f": {field[0]} does not fit" for field in fields[:1])
        return Refused(why + named, frozenset(int(field[1]) for field in fields))
    return Later(why, _pause(response.headers.get(b"retry-after", b"")))


def _pause(retry_after: bytes) -> float:
    """In whole seconds, as our own servers say it; a date is as good as nothing said."""
    return min(float(retry_after), _LONGEST_PAUSE) if _SECONDS_AHEAD.fullmatch(retry_after) else 0.0


def _fields(body: bytes) -> Iterator[re.Match[str]]:
    """The exposures that a problem names, by their place in the request."""
    try:
        problem: Any = orjson.loads(body)
    except ValueError:
        return
    errors = problem.get("errors") if isinstance(problem, dict) else None
    for error in errors if isinstance(errors, list) else ():
        field = error.get("field") if isinstance(error, dict) else None
        if isinstance(field, str) and (found := _FIELD.match(field)):
            yield found
