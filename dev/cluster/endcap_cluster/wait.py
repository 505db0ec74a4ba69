# SPDX-License-Identifier: Apache-2.0
"""Waiting with a deadline, and giving up early when the process that is waited for has died."""

import time
from collections.abc import Callable
from pathlib import Path

from endcap_cluster import processes
from endcap_cluster.errors import ClusterError


def until(what: str, ready: Callable[[], bool], seconds: float, interval: float = 0.05) -> None:
    """Poll `ready` until it is true; ClusterError naming `what` after `seconds`."""
    deadline = time.monotonic() + seconds
    while not ready():
        if time.monotonic() > deadline:
            raise ClusterError(f"{what}: not within {seconds:.0f} s")
        time.sleep(interval)


def until_serving(record: processes.Record, log: Path, ready: Callable[[], bool], seconds: float) -> None:
    """Like `until`, but a daemon that died ends the wait, and its last words are in the error."""

    def ready_or_dead() -> bool:
        if not processes.alive(record):
            raise ClusterError(f"{record.name} ended while starting; {log} ends with:\n{processes.tail(log)}")
        return ready()

    until(f"{record.name} (log: {log})", ready_or_dead, seconds)
