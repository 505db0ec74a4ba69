# SPDX-License-Identifier: Apache-2.0
"""Connections that go to the checked address and end by the deadline, whatever the other side does.

httpcore asks a network backend for its sockets, which is the seam that lets TLS verify the name while the
socket goes to an address that was checked before, and that bounds every single read, headers and TLS
handshakes included.
"""

from __future__ import annotations

import ssl
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import certifi
import httpcore

from endcap_runtime.artefacts.errors import unreachable
from endcap_runtime.artefacts.policy import Limits


@dataclass(frozen=True)
class Deadline:
    """The moment on the monotonic clock at which a fetch ends, done or not."""

    at: float

    @classmethod
    def after(cls, seconds: float) -> Deadline:
        return cls(time.monotonic() + seconds)

    @property
    def left(self) -> float:
        return self.at - time.monotonic()

    def bound(self, seconds: float | None) -> float:
        """A timeout that the deadline cuts; httpcore.ReadTimeout when nothing is left."""
        left = self.left
        if left <= 0:
            raise httpcore.ReadTimeout("deadline")
        return left if seconds is None else min(seconds, left)


class BoundedStream(httpcore.NetworkStream):
    """A stream of which every operation ends by the deadline."""

    def __init__(self, stream: httpcore.NetworkStream, deadline: Deadline) -> None:
        self._stream = stream
        self._deadline = deadline

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._stream.read(max_bytes, self._deadline.bound(timeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._stream.write(buffer, self._deadline.bound(timeout))

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        stream = self._stream.start_tls(ssl_context, server_hostname, self._deadline.bound(timeout))
        return BoundedStream(stream, self._deadline)

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


class PinnedBackend(httpcore.NetworkBackend):
    """Connects to the given addresses in order, whatever host it is asked for: the name was resolved before."""

    def __init__(self, addresses: Sequence[str], deadline: Deadline) -> None:
        self._addresses = addresses
        self._deadline = deadline
        self._sockets = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        failure: Exception = httpcore.ConnectError(f"no address for {host}")
        for address in self._addresses:
            try:
                return self._connect(address, port, timeout, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
        raise failure

    def _connect(
        self,
        address: str,
        port: int,
        timeout: float | None,
        local_address: str | None,
        options: Iterable[httpcore.SOCKET_OPTION] | None,
    ) -> httpcore.NetworkStream:
        bound = self._deadline.bound(timeout)
        return BoundedStream(
            self._sockets.connect_tcp(address, port, bound, local_address, options), self._deadline
        )


class Pace:
    """Refuses a sender that keeps a connection alive with drops: each window must bring its share."""

    def __init__(self, host: str, limits: Limits) -> None:
        self._host = host
        self._limits = limits
        self._start = time.monotonic()
        self._bytes = 0

    def count(self, size: int) -> None:
        """Take note of bytes received; ArtefactUnreachable when a window was too thin."""
        self._bytes += size
        elapsed = time.monotonic() - self._start
        if elapsed < self._limits.slow_seconds:
            return
        if self._bytes < elapsed * self._limits.slow_bytes_per_second:
            message = (
                f"host {self._host!r} sends {self._bytes / elapsed:.0f} bytes a second, too slow to wait for"
            )
            raise unreachable(message)
        self._start, self._bytes = time.monotonic(), 0


def tls_context(ca_file: Path | None) -> ssl.SSLContext:
    """Verifies chain and name, always; there is no switch that turns it off."""
    return ssl.create_default_context(cafile=str(ca_file) if ca_file else certifi.where())
