# SPDX-License-Identifier: Apache-2.0
"""URLs in one strict reading, so that what is checked and what is requested cannot differ."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import SplitResult, urljoin, urlsplit

from endcap_runtime.artefacts.addresses import check_spelling
from endcap_runtime.artefacts.errors import refused

_DEFAULT_PORTS = {"http": 80, "https": 443}
_UNPRIVILEGED, _LAST = 1024, 65_535
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
    def bracketed(self) -> str:
        return f"[{self.host}]" if ":" in self.host else self.host

    @property
    def authority(self) -> str:
        """Host and, unless it is the scheme's own, port: the Host header."""
        own = _DEFAULT_PORTS[self.scheme] == self.port
        return self.bracketed if own else f"{self.bracketed}:{self.port}"

    @property
    def text(self) -> str:
        return f"{self.scheme}://{self.authority}{self.target}"

    def is_listed(self, hosts: frozenset[str]) -> bool:
        """Whether `host` or `host:port` is among hosts that may be inside the cluster."""
        return not hosts.isdisjoint({self.host, self.bracketed, f"{self.bracketed}:{self.port}"})


def parse_url(text: str) -> Url:
    """Read an http(s) URL; ArtefactRefused for what only an attack or a mistake would write."""
    if not _PLAIN.fullmatch(text) or "\\" in text:
        raise refused("the URI holds spaces, backslashes or characters outside ASCII: percent-encode them")
    parts = _split(text)
    if parts.scheme not in _DEFAULT_PORTS:
        raise refused(f"the scheme {parts.scheme!r} is not one of http and https")
    host = check_spelling(_host(parts))
    path = parts.path or "/"
    return Url(parts.scheme, host, _port(parts), f"{path}?{parts.query}" if parts.query else path)


def _split(text: str) -> SplitResult:
    try:
        return urlsplit(text)
    except ValueError:
        raise refused("the URI cannot be read: its host is malformed") from None


def _host(parts: SplitResult) -> str:
    if "@" in parts.netloc:
        raise refused("the URI holds credentials: put them in a Secret and name it in secretRef")
    if not parts.hostname:
        raise refused("the URI names no host")
    return parts.hostname


def _port(parts: SplitResult) -> int:
    """80, 443 or an unprivileged port: nothing else below 1024 serves files to the public."""
    try:
        port = parts.port if parts.port is not None else _DEFAULT_PORTS[parts.scheme]
    except ValueError:
        port = 0
    if port not in _DEFAULT_PORTS.values() and not _UNPRIVILEGED <= port <= _LAST:
        raise refused(f"the port of host {parts.hostname!r} must be 80, 443 or 1024 to 65535")
    return port


def redirected(url: Url, location: str) -> Url:
    """Where a redirect leads; never from https down to http."""
    target = parse_url(urljoin(url.text, location))
    if url.scheme == "https" and target.scheme == "http":
        raise refused(f"host {url.host!r} redirects from https to http on host {target.host!r}")
    return target
