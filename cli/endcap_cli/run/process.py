# SPDX-License-Identifier: Apache-2.0
"""Child processes: started, waited for, asked why they ended, and ended themselves. Only ever our own."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import httpx

from endcap_cli.run.environment import LOOPBACK, Files
from endcap_cli.terminal import CommandError

START_SECONDS = 120.0
STOP_SECONDS = 5.0
LONGEST_PAUSE = 30.0
POLL_SECONDS = 0.05
OK = 200
REVISION = "/-/revision"


class Stopped(Exception):
    """The run is ending, so what was waited for no longer matters."""


class StartFailed(CommandError):
    """A process that ended before it served, or never served; the message gives its own reason."""


class Child:
    """One process with a log and a port of its own; a sidecar ends with the process that it is `beside`."""

    def __init__(self, label: str, files: Files, port: int, beside: Child | None = None) -> None:
        self.label = label
        self.beside = beside
        self.port = port
        self.files = files
        self.loss = ""  # what goes when the process ends, with the remedy, for a person
        self._process: subprocess.Popen[bytes] | None = None
        self._started: tuple[Sequence[str], Mapping[str, str]] = ((), {})
        self._pause_after = 1.0
        self._due_at: float | None = None

    @property
    def url(self) -> str:
        return f"http://{LOOPBACK}:{self.port}"

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    def start(self, command: Sequence[str], environment: Mapping[str, str]) -> None:
        """In a session of its own, so that Ctrl-C reaches it through us, in order; its standard input tells it
        when we are gone.
        """
        self._started = command, environment
        self._let_go()
        self.files.termination.unlink(missing_ok=True)
        with self.files.log.open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
                command,
                env=dict(environment),
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def finish(self, stopping: threading.Event) -> None:
        """Wait until the process has done its work; raises StartFailed if it says that it could not."""
        while (status := self.ended()) is None:
            self._pause(stopping)
        if status:
            raise StartFailed(f"{self.label}: {self.why()}")

    def _let_go(self) -> None:
        if self._process and self._process.stdin:
            self._process.stdin.close()

    def serve(self, stopping: threading.Event) -> None:
        """Wait until the process is ready; raises StartFailed if it ends before, refuses, or takes too long."""
        with self.client() as client:
            self.until(stopping, lambda: answers(client, "/readyz"), lambda: rejected(client))

    def until(
        self,
        stopping: threading.Event,
        ready: Callable[[], bool],
        refused: Callable[[], str | None] = lambda: None,
    ) -> None:
        deadline = time.monotonic() + START_SECONDS
        while not ready():
            if self.ended() is not None:
                raise StartFailed(f"{self.label}: {self.why()}")
            if reason := refused():
                raise StartFailed(f"{self.label}: {reason}")
            if time.monotonic() > deadline:
                late = f"not ready after {START_SECONDS:.0f} s; its log is {self.files.log}"
                raise StartFailed(f"{self.label}: {late}")
            self._pause(stopping)

    def client(self) -> httpx.Client:
        """For a few questions; the caller closes it."""
        return httpx.Client(base_url=self.url, timeout=1.0, trust_env=False)

    def _pause(self, stopping: threading.Event) -> None:
        if stopping.wait(POLL_SECONDS):
            raise Stopped

    def ended(self) -> int | None:
        """The exit status of a process that has ended by itself."""
        return self._process.poll() if self._process else None

    def due(self) -> bool:
        """Whether a process that ended may be started again; the pause doubles each time."""
        if self._due_at is None:
            self._due_at = time.monotonic() + self._pause_after
            self._pause_after = min(self._pause_after * 2, LONGEST_PAUSE)
        return time.monotonic() >= self._due_at

    def start_again(self) -> None:
        self._due_at = None
        self.start(*self._started)

    def why(self) -> str:
        """The termination message; else how the process ended, and where its log is."""
        try:
            told = json.loads(self.files.termination.read_text(encoding="utf-8"))
            return f"{told['reason']}: {told['message']}"
        except (OSError, ValueError, KeyError, TypeError):
            return f"{how_ended(self.ended())}; its log is {self.files.log}"

    def ask_to_stop(self) -> None:
        if self._process and self.ended() is None:
            self._process.terminate()

    def stop(self) -> None:
        """End the process and what it started; a process that does not want to is ended for it."""
        if self._process is None:
            return
        self.ask_to_stop()
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)  # its own session, so its own group
            self._process.wait()
        self._let_go()


def how_ended(status: int | None) -> str:
    """An exit status as subprocess gives it, in words."""
    if status is None or status >= 0:
        return f"ended with status {status}"
    guess = " (out of memory?)" if status == -signal.SIGKILL else ""
    return f"killed by signal {-status}{guess}"


def answers(client: httpx.Client, path: str) -> bool:
    try:
        return client.get(path).status_code == OK
    except httpx.TransportError:
        return False


def told(client: httpx.Client, path: str) -> dict[str, Any]:
    """What an address says; empty while nothing answers."""
    try:
        answer = client.get(path)
        found = answer.json() if answer.status_code == OK else {}
    except (httpx.TransportError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def serving(client: httpx.Client) -> str | None:
    """The revision that is served."""
    return told(client, REVISION).get("serving")


def rejected(client: httpx.Client) -> str | None:
    """Why a server refuses the revision that it was given."""
    return reason_of(told(client, REVISION))


def reason_of(report: Mapping[str, Any]) -> str | None:
    refused = report.get("rejected")
    return f"{refused['reason']}: {refused['message']}" if refused else None


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        port: int = probe.getsockname()[1]
        return port


def is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
    return True
