# SPDX-License-Identifier: Apache-2.0
"""Reading the API server's audit log: who wrote what, when.

The log is written before each response is sent, so what a test caused is in it when its call returns.
A user agent or user matches when it starts with the given text: clients append versions to their names.
"""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

WRITES = frozenset({"create", "update", "patch", "delete", "deletecollection"})


@dataclass(frozen=True)
class Request:
    """One answered request; `name` is empty for collections, `code` is the HTTP status."""

    time: datetime
    verb: str
    user: str
    user_agent: str
    resource: str
    subresource: str
    namespace: str
    name: str
    code: int
    uri: str

    @property
    def writes(self) -> bool:
        return self.verb in WRITES and self.resource not in {"subjectaccessreviews", "tokenreviews"}


def requests(log: Path) -> Iterator[Request]:
    """Every answered request in `log` and the files rotated out of it, oldest file first."""
    rotated = sorted(log.parent.glob(f"{log.stem}-*{log.suffix}"))
    for file in [*rotated, *([log] if log.exists() else [])]:
        with file.open() as lines:
            yield from (_request(json.loads(line)) for line in lines if _answered(line))


def writes(
    log: Path, *, user_agent: str = "", user: str = "", since: datetime | None = None
) -> list[Request]:
    """The writes of one client, in the order in which the server answered them.

    `since` must carry a time zone; a dry run counts as a write, since a client made it.
    """
    return [
        request
        for request in requests(log)
        if request.writes and _by(request, user_agent, user) and (since is None or request.time >= since)
    ]


def count_by_client(found: Iterable[Request]) -> dict[tuple[str, str], int]:
    """Requests by (user, user agent up to its first space), most first."""
    counts: dict[tuple[str, str], int] = {}
    for request in found:
        client = (request.user, request.user_agent.split(" ")[0])
        counts[client] = counts.get(client, 0) + 1
    return dict(sorted(counts.items(), key=lambda item: -item[1]))


def _by(request: Request, user_agent: str, user: str) -> bool:
    return request.user_agent.startswith(user_agent) and request.user.startswith(user)


def _answered(line: str) -> bool:
    # A line without its end is still being written; a watch is logged at its start too.
    return line.endswith("\n") and '"stage":"ResponseComplete"' in line


def _request(event: dict[str, Any]) -> Request:
    reference = event.get("objectRef", {})
    impersonated = event.get("impersonatedUser", {})
    return Request(
        time=datetime.fromisoformat(event["requestReceivedTimestamp"]),
        verb=event["verb"],
        user=impersonated.get("username", event["user"].get("username", "")),
        user_agent=event.get("userAgent", ""),
        resource=reference.get("resource", ""),
        subresource=reference.get("subresource", ""),
        namespace=reference.get("namespace", ""),
        name=reference.get("name", ""),
        code=event.get("responseStatus", {}).get("code", 0),
        uri=event["requestURI"],
    )
