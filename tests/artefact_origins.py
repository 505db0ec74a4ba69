# SPDX-License-Identifier: Apache-2.0
"""Real servers on loopback for the fetcher's tests: honest ones, and ones that misbehave byte by byte."""

from __future__ import annotations

import os
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from endcap_cluster.toolchain import S3, build


@dataclass
class Seen:
    """A request as it arrived: first line, headers by lower-case name, and the port it came to."""

    line: str
    headers: dict[str, str]


Behaviour = Callable[[socket.socket, Seen], None]


@dataclass
class Origin:
    """A server: `answers` maps a path to what is written to the socket, `seen` holds the requests."""

    port: int
    answers: dict[str, Behaviour] = field(default_factory=dict)
    seen: list[Seen] = field(default_factory=list)

    def url(self, path: str, host: str = "127.0.0.1", scheme: str = "http") -> str:
        return f"{scheme}://{host}:{self.port}{path}"


def body(content: bytes, status: str = "200 OK", length: int | None = None, **headers: str) -> Behaviour:
    """Answer with a status, headers and content; `length` lies about it."""
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(content) if length is None else length}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return lambda sock, _: sock.sendall("\r\n".join([*lines, "Connection: close", "", ""]).encode() + content)


def raw(content: bytes) -> Behaviour:
    """Write bytes that may not even be HTTP, and close."""
    return lambda sock, _: sock.sendall(content)


def redirect(location: str, status: str = "302 Found") -> Behaviour:
    return body(b"", status, Location=location)


def dripping(content: bytes, pause: float, *, before_headers: bool = False) -> Behaviour:
    """Send one byte at a time, for as long as the other side bears it."""

    def answer(sock: socket.socket, _: Seen) -> None:
        head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(content)}\r\n\r\n".encode()
        with suppress(OSError):
            if not before_headers:
                sock.sendall(head)
            for byte in head + content if before_headers else content:
                sock.sendall(bytes([byte]))
                time.sleep(pause)

    return answer


def failing(times: int, otherwise: Behaviour, failure: Behaviour | None = None) -> Behaviour:
    """Fail a number of times (503 unless another failure is given), then behave."""
    left, busy = [times], failure or body(b"", "503 Service Unavailable")

    def answer(sock: socket.socket, seen: Seen) -> None:
        left[0] -= 1
        (busy if left[0] >= 0 else otherwise)(sock, seen)

    return answer


@contextmanager
def origin(tls: ssl.SSLContext | None = None) -> Iterator[Origin]:
    """Serve on a free port of loopback, each connection in a thread and for one request."""
    listener = socket.create_server(("127.0.0.1", 0))
    server = Origin(listener.getsockname()[1])
    accepting = threading.Thread(target=_accept, args=(listener, server, tls), daemon=True)
    accepting.start()
    try:
        yield server
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        accepting.join()


def _accept(listener: socket.socket, server: Origin, tls: ssl.SSLContext | None) -> None:
    while True:
        try:
            connection, _ = listener.accept()
        except OSError:
            return
        threading.Thread(target=_serve, args=(connection, server, tls), daemon=True).start()


def _serve(connection: socket.socket, server: Origin, tls: ssl.SSLContext | None) -> None:
    with connection, suppress(OSError):
        sock = tls.wrap_socket(connection, server_side=True) if tls else connection
        with sock:
            seen = _request(sock)
            server.seen.append(seen)
            path = seen.line.split(" ")[1].partition("?")[0]
            server.answers.get(path, body(b"", "404 Not Found"))(sock, seen)


def _request(sock: socket.socket) -> Seen:
    text = b""
    while b"\r\n\r\n" not in text:
        piece = sock.recv(65_536)
        if not piece:
            raise ConnectionError
        text += piece
    line, *rest = text.decode("latin-1").partition("\r\n\r\n")[0].split("\r\n")
    return Seen(line, {name.lower(): value for name, _, value in (header.partition(": ") for header in rest)})


@dataclass(frozen=True)
class S3Server:
    """A versitygw on loopback over a folder whose folders are the buckets."""

    endpoint: str
    folder: Path
    access: str
    secret: str


@contextmanager
def s3_server(folder: Path) -> Iterator[S3Server]:
    """Run the cluster's own S3 server, built if it is missing."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    server = S3Server(f"http://127.0.0.1:{port}", folder, "endcap-test-access", "endcap-test-secret")
    folder.mkdir()
    command = [build(S3), "--access", server.access, "--secret", server.secret, "--port", f"127.0.0.1:{port}"]
    with (folder.parent / "s3.log").open("wb") as log:
        running = subprocess.Popen(
            [*command, "posix", folder], stdout=log, stderr=log, env={"PATH": os.defpath}
        )
    try:
        _await(port, running)
        yield server
    finally:
        running.terminate()
        running.wait()


def _await(port: int, running: subprocess.Popen[bytes]) -> None:
    for _ in range(300):
        assert running.poll() is None, "the S3 server ended at once"
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.1)
    raise TimeoutError
