# SPDX-License-Identifier: Apache-2.0
"""URLs in one strict reading, so that what is checked and what is requested cannot differ."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import SplitResult, urljoin, urlsplit

from endcap_runtime.artefacts.addresses import check_spelling
from endcap_runtime.artefacts.errors import refused

_DEFAULT_PORTS = {"http": 80, "https": 443}
_PLAIN = re.compile(r"[!-~]+")


@dataclass(frozen=True)
class Url:
    """An http(s) address taken apart; `target` is path and query as they go over the wire."""

    scheme: str
    host: str
    port: int
    target: str

    @property
    def origin(self) -> tuple[str, str, int]:
        return self.scheme, self.host, self.port

    @property
    def authority(self) -> str:
        """Host and, unless it is the scheme's own, port: the Host header."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if _DEFAULT_PORTS[self.scheme] == self.port else f"{host}:{self.port}"

    @property
    def text(self) -> str:
        return f"{self.scheme}://{self.authority}{self.target}"

    def is_listed(self, hosts: frozenset[str]) -> bool:
        """Whether `host` or `host:port` is among hosts that may be inside the cluster."""
        return self.host in hosts or f"{self.host}:{self.port}" in hosts


def parse_url(text: str) -> Url:
    """Read an http(s) URL; ArtefactRefused for what only an attack or a mistake would write."""
    if not _PLAIN.fullmatch(text) or "\\" in text:
        message = "the URI holds spaces, backslashes or characters outside ASCII: percent-encode them"
        raise refused(message)
    parts = _split(text)
    if parts.scheme not in _DEFAULT_PORTS:
        message = f"the scheme {parts.scheme!r} is not one of http and https"
        raise refused(message)
    host = check_spelling(_host(parts))
    path = parts.path or "/"
    return Url(parts.scheme, host, _port(parts), f"{path}?{parts.query}" if parts.query else path)


def _split(text: str) -> SplitResult:
    try:
        return urlsplit(text)
    except ValueError:
        message = "the URI cannot be read: its host is malformed"
        raise refused(message) from None


def _host(parts: SplitResult) -> str:
    if "@" in parts.netloc:
        message = "the URI holds credentials: put them in a Secret and name it in secretRef"
        raise refused(message)
    if not parts.hostname:
        message = "the URI names no host"
        raise refused(message)
    return parts.hostname


def _port(parts: SplitResult) -> int:
    """80, 443 or an unprivileged port: nothing else below 1024 serves files to the public."""
    try:
        port = parts.port if parts.port is not None else _DEFAULT_PORTS[parts.scheme]
    except ValueError:
        port = 0
    if port not in _DEFAULT_PORTS.values() and not 1024 <= port <= 65535:
        message = f"the port of host {parts.hostname!r} must be 80, 443 or 1024 to 65535"
        raise refused(message)
    return port


def redirected(url: Url, location: str) -> Url:
    """Where a redirect leads; never from https down to http."""
    target = parse_url(urljoin(url.text, location))
    if url.scheme == "https" and target.scheme == "http":
        message = f"host {url.host!r} redirects from https to http on host {target.host!r}"
        raise refused(message)
    return target
