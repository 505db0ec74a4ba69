# SPDX-License-Identifier: Apache-2.0
"""One HTTP GET, done carefully: every hop's host is checked, every byte is counted."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from pathlib import Path
from typing import TypeAlias

import httpcore

from endcap_runtime.artefacts.addresses import Resolver, checked_addresses
from endcap_runtime.artefacts.errors import (
    ArtefactError,
    invalid,
    not_found,
    refused,
    too_large,
    unreachable,
)
from endcap_runtime.artefacts.policy import Limits
from endcap_runtime.artefacts.transport import Deadline, Pace, PinnedBackend, tls_context
from endcap_runtime.artefacts.urls import Url, redirected

Sink: TypeAlias = Callable[[bytes], None]

_REDIRECTS = {301, 302, 303, 307, 308}
_PASSING = {408, 425, 429}
_ANSWERS = {401: "wants credentials", 403: "refuses access", 407: "is a proxy"}


@dataclass(frozen=True)
class Request:
    """What to get. `listed` hosts may be private; `credentials` are headers for the URL's own origin only."""

    url: Url
    listed: frozenset[str] = frozenset()
    credentials: Mapping[str, str] = field(default_factory=dict)
    redirects: int = 0


@dataclass(frozen=True)
class Client:
    """How to get it: resolver, limits, deadline and certificate authorities of one fetch."""

    limits: Limits
    deadline: Deadline
    resolve: Resolver
    ca_file: Path | None = None

    def get(self, request: Request, sink: Sink) -> None:
        """Stream the body into `sink`, following redirects; ArtefactError for anything but a whole 200."""
        current: Request | None = request
        while current is not None:
            current = self._hop(current, sink)

    def _hop(self, request: Request, sink: Sink) -> Request | None:
        """Make one request; the next one if the answer is a redirect."""
        url = request.url
        with _clear_errors(url.host, self.deadline), self._pool(request) as pool:
            extensions = {"timeout": self._timeouts()}
            with pool.stream("GET", _wire(url), headers=_headers(request), extensions=extensions) as response:
                if response.status in _REDIRECTS:
                    return _follow(request, response)
                _check_status(url, response.status)
                self._receive(url, response, sink)
        return None

    def _pool(self, request: Request) -> httpcore.ConnectionPool:
        url = request.url
        listed = url.is_listed(request.listed)
        addresses = checked_addresses(url.host, url.port, listed=listed, resolve=self.resolve)
        backend = PinnedBackend(addresses, self.deadline)
        context = tls_context(self.ca_file) if url.scheme == "https" else None
        return httpcore.ConnectionPool(ssl_context=context, network_backend=backend, max_connections=1)

    def _timeouts(self) -> dict[str, float]:
        read, connect = self.limits.read_seconds, self.limits.connect_seconds
        return {"connect": connect, "read": read, "write": read, "pool": connect}

    def _receive(self, url: Url, response: httpcore.Response, sink: Sink) -> None:
        announced = _header(response, b"content-length")
        if announced is not None and announced.isdigit() and int(announced) > self.limits.packed_bytes:
            message = (
                f"host {url.host!r} announces {announced} bytes, the limit is {self.limits.packed_bytes}"
            )
            raise too_large(message)
        pace = Pace(url.host, self.limits)
        for chunk in response.iter_stream():
            sink(chunk)
            pace.count(len(chunk))


def _headers(request: Request) -> list[tuple[bytes, bytes]]:
    own = {"Host": request.url.authority, "User-Agent": "endcap", "Accept-Encoding": "identity"}
    return [(name.encode(), value.encode()) for name, value in {**own, **request.credentials}.items()]


def _wire(url: Url) -> httpcore.URL:
    return httpcore.URL(
        scheme=url.scheme.encode(), host=url.host.encode(), port=url.port, target=url.target.encode()
    )


def _header(response: httpcore.Response, name: bytes) -> str | None:
    return next((value.decode("latin-1") for key, value in response.headers if key.lower() == name), None)


def _follow(request: Request, response: httpcore.Response) -> Request:
    """The request that a redirect asks for; credentials stay with the origin they were given for."""
    location = _header(response, b"location")
    if location is None:
        raise invalid(f"host {request.url.host!r} redirects to nowhere (status {response.status})")
    if request.redirects == 0:
        message = (
            f"host {request.url.host!r} redirects once more than allowed: name the last address in the URI"
        )
        raise refused(message)
    url = redirected(request.url, location)
    kept = request.credentials if url.origin == request.url.origin else {}
    return replace(request, url=url, credentials=kept, redirects=request.redirects - 1)


def _check_status(url: Url, status: int) -> None:
    if status == HTTPStatus.OK:
        return
    where = f"host {url.host!r}"
    if status in {HTTPStatus.NOT_FOUND, HTTPStatus.GONE}:
        raise not_found(f"{where} has no such file (status {status})")
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR or status in _PASSING:
        raise unreachable(f"{where} cannot answer now (status {status})")
    if status in _ANSWERS:
        raise refused(
            f"{where} {_ANSWERS[status]} (status {status}): check secretRef and the rights of its keys"
        )
    raise invalid(f"{where} answers with status {status} instead of the file")


@contextmanager
def _clear_errors(host: str, deadline: Deadline) -> Iterator[None]:
    """Say what went wrong on the network in words that name the host and nothing else."""
    try:
        yield
    except (httpcore.TimeoutException, httpcore.NetworkError, httpcore.ProtocolError) as error:
        raise _explained(error, host, deadline) from error


def _explained(error: Exception, host: str, deadline: Deadline) -> ArtefactError:
    cause = error.__cause__ or error.__context__  # httpcore's pool drops the cause, the context stays
    if isinstance(cause, ssl.SSLCertVerificationError):
        return refused(f"host {host!r} has no valid certificate: {cause.verify_message}")
    if deadline.left <= 0:
        return unreachable(f"host {host!r} did not send the whole file before the deadline")
    if isinstance(error, httpcore.ConnectTimeout | httpcore.ConnectError):
        return unreachable(f"host {host!r} does not accept the connection: {error}")
    if isinstance(error, httpcore.TimeoutException):
        return unreachable(f"host {host!r} stopped sending")
    if isinstance(error, httpcore.RemoteProtocolError) and "complete message body" in str(error):
        return unreachable(f"host {host!r} sent a truncated file: {error}")
    return unreachable(f"host {host!r} broke the connection: {error}")
