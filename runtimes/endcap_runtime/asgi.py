# SPDX-License-Identifier: Apache-2.0
"""The few ASGI pieces that the fronts of both servers share."""

from __future__ import annotations

import random
import re
from collections.abc import Awaitable, Callable, Mapping, MutableMapping, Sequence
from typing import Any, NamedTuple

from endcap_runtime.problems import CLOSE, Problem

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]
Headers = Mapping[bytes, bytes]

_IDS = random.Random()  # noqa: S311 ids are told apart, not kept secret
_REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{1,64}")
_HOST = re.compile(rb"[A-Za-z0-9._-]+(:[0-9]{1,5})?|\[[0-9A-Fa-f:.]+\](:[0-9]{1,5})?")
_JSON = b"application/json"


class Response(NamedTuple):
    """A whole response; headers beyond the content type and length are lower-case pairs."""

    status: int
    body: bytes
    content_type: bytes = _JSON
    headers: Sequence[tuple[bytes, bytes]] = ()


async def respond(send: Send, response: Response, *more: tuple[bytes, bytes]) -> None:
    """Sends a whole response with its length, so that the connection stays usable."""
    headers = [
        (b"content-type", response.content_type),
        (b"content-length", b"%d" % len(response.body)),
        *response.headers,
        *more,
    ]
    await send({"type": "http.response.start", "status": response.status, "headers": headers})
    await send({"type": "http.response.body", "body": response.body})


def request_id(headers: Headers) -> bytes:
    """The caller's id where it is harmless in logs and headers, else a new one."""
    given = headers.get(b"x-request-id")
    if given and _REQUEST_ID.fullmatch(given):
        return given
    return b"%016x" % _IDS.getrandbits(64)


def headers_of(scope: Scope) -> Headers:
    """The headers by lower-case name.

    Raises Problem 400 where two parties could read the request differently: a doubled header that decides
    about the message, or a Host that is none.
    """
    pairs = scope["headers"]
    headers: dict[bytes, bytes] = dict(pairs)
    if len(headers) != len(pairs):
        _refuse_doubled([name for name, _ in pairs])
    if not _HOST.fullmatch(headers.get(b"host", b"")):
        raise Problem(400, "The Host header is not a host name with an optional port.")
    return headers


_SINGLE = (
    b"host",
    b"content-length",
    b"content-type",
    b"transfer-encoding",
    b"inference-header-content-length",
)


def _refuse_doubled(names: Sequence[bytes]) -> None:
    for name in _SINGLE:
        if names.count(name) > 1:
            raise Problem(400, f"The header {name.decode()} may be sent once.")


async def read_body(
    receive: Receive, headers: Headers, limit: int, remedy: str = "send fewer rows a request"
) -> bytes:
    """The whole body; `remedy` is what the caller of a larger one is told to do.

    Raises Problem 413 above `limit` bytes, before they are read where the length is announced, and 400 when
    the client leaves in the middle. A body that never ends is the server's business (`server.StrictProtocol`).
    """
    announced = headers.get(b"content-length", b"0")
    if int(announced) > limit:
        raise _too_large(limit, remedy)
    message = await receive()
    if not message.get("more_body"):
        return _checked(_part(message), limit, remedy)
    parts = [_part(message)]
    size = len(parts[0])
    while message.get("more_body"):
        message = await receive()
        parts.append(_part(message))
        size += len(parts[-1])
        if size > limit:
            raise _too_large(limit, remedy)
    return b"".join(parts)


def _part(message: Message) -> bytes:
    if message["type"] == "http.disconnect":
        raise Problem(400, "The client left before the body was complete.")
    body: bytes = message.get("body", b"")
    return body


def _checked(body: bytes, limit: int, remedy: str) -> bytes:
    if len(body) > limit:
        raise _too_large(limit, remedy)
    return body


def _too_large(limit: int, remedy: str) -> Problem:
    return Problem(413, f"The body is larger than {limit} bytes: {remedy}.", (), CLOSE)


def refuse_media_type(headers: Headers, *allowed: bytes) -> None:
    """Raises Problem 415 unless the body is of an allowed media type and not compressed.

    Pickles and forms reach neither our paths nor BentoML's; compressed bodies would need a bound of their own.
    """
    media_type = headers.get(b"content-type", _JSON).split(b";", 1)[0].strip().lower()
    if media_type not in allowed:
        names = " or ".join(name.decode() for name in allowed)
        raise Problem(415, f"The content type must be {names}.")
    if headers.get(b"content-encoding", b"identity").lower() != b"identity":
        raise Problem(415, "The body must not be compressed: send it without a content-encoding.")


def refuse_method(scope: Scope, allowed: str) -> None:
    """Raises Problem 405 unless the method is the allowed one."""
    if scope["method"] != allowed:
        raise Problem(405, f"This path takes {allowed}.", (), (b"allow", allowed.encode()))


def ambiguous(raw_path: bytes) -> bool:
    """Whether a proxy in front could read the path as another one: `%2e`, `//`, `/..`."""
    return b"%" in raw_path or b"//" in raw_path or b"/." in raw_path
