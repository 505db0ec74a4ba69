# SPDX-License-Identifier: Apache-2.0
"""The Redis of a store that is embedded: one of this machine, on loopback, whose data go with the run."""

from __future__ import annotations

import shutil
import socket
import threading
import time
from pathlib import Path

from endcap_cli.run.environment import LOOPBACK, TETHERED
from endcap_cli.run.process import Child
from endcap_cli.terminal import CommandError, complain

PROGRAM = "redis-server"
PING_SECONDS = 1.0
LOSS = "what it held is gone: load and send it again"
REMEDY = (
    f"{PROGRAM} is not installed, and a FeatureStore without redis.url needs one: install it (apt install "
    "redis-server, brew install redis), or set spec.redis.url to a Redis that runs"
)


def start(child: Child, folder: Path, stopping: threading.Event) -> str:
    """Its URL once it answers; raises CommandError where there is none to start, StartFailed or Stopped."""
    program = shutil.which(PROGRAM)
    if program is None:
        raise CommandError(REMEDY)
    begun = time.monotonic()
    folder.mkdir(parents=True, exist_ok=True)
    child.loss = LOSS
    child.start((*TETHERED, program, *_options(child.port, folder)), {})
    child.until(stopping, lambda: _answers(child.port))
    complain(f"  {child.label:<38} ready   {time.monotonic() - begun:.1f} s")
    return f"redis://{LOOPBACK}:{child.port}"


def _options(port: int, folder: Path) -> list[str]:
    """Nothing on the disk: what a run has gathered ends with it. Large sets of whole numbers stay compact."""
    options = {
        "bind": LOOPBACK,
        "port": str(port),
        "dir": str(folder),
        "save": "",
        "appendonly": "no",
        "set-max-intset-entries": "65536",
    }
    return [part for name, value in options.items() for part in (f"--{name}", value)]


def _answers(port: int) -> bool:
    try:
        with socket.create_connection((LOOPBACK, port), PING_SECONDS) as connection:
            connection.sendall(b"PING\r\n")
            return connection.recv(16).startswith(b"+PONG")
    except OSError:
        return False
