# SPDX-License-Identifier: Apache-2.0
"""Daemons by recorded pid.

A pid alone may have been given to a stranger since; with the boot and the start time beside it, a record
names one process for ever. Nothing is ever ended by name.
"""

import json
import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from endcap_cluster.errors import ClusterError

POLL_SECONDS = 0.02
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True)
class Record:
    """One started daemon; `started` names the boot and the clock ticks since it."""

    name: str
    pid: int
    started: str


def start(
    pids: Path, name: str, argv: Sequence[str], log: Path, env: Mapping[str, str] | None = None
) -> Record:
    """Start a daemon that outlives us, its output appended to `log`, and record it under `pids`."""
    with log.open("ab") as output:
        child = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env=None if env is None else {**os.environ, **env},
        )
    record = Record(name, child.pid, start_time(child.pid) or "")
    child.returncode = 0  # the daemon is meant to outlive this object
    _write(pids, record)
    return record


def recorded(pids: Path) -> list[Record]:
    """Every daemon recorded under `pids`, dead or alive."""
    files = sorted(pids.glob("*.json"))
    return [Record(**json.loads(file.read_text())) for file in files]


def find(pids: Path, name: str) -> Record | None:
    return next((record for record in recorded(pids) if record.name == name), None)


def alive(record: Record) -> bool:
    return start_time(record.pid) == record.started


def stop(pids: Path, record: Record, grace: float) -> None:
    """End a daemon: SIGTERM, up to `grace` seconds, SIGKILL; returns when it is gone."""
    _signal(record, signal.SIGTERM)
    if not _gone_within(record, grace):
        _signal(record, signal.SIGKILL)
        if not _gone_within(record, 10):
            raise ClusterError(
                f"{record.name} (pid {record.pid}) survives SIGKILL: it hangs in the kernel, reboot"
            )
    (pids / f"{record.name}.json").unlink(missing_ok=True)


def start_time(pid: int) -> str | None:
    """When `pid` started: boot id and clock ticks; None when there is no such live process."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    fields = stat[stat.rindex(")") + 2 :].split()
    # A zombie whose other threads are still ending holds its files and ports: it counts as alive.
    dead = fields[0] in "ZX" and int(fields[17]) <= 1
    return None if dead else f"{BOOT_ID.read_text().strip()}:{fields[19]}"


def tail(log: Path, lines: int = 15) -> str:
    """The end of a log, for error messages."""
    return "\n".join(log.read_text(errors="replace").splitlines()[-lines:]) if log.exists() else ""


def _write(pids: Path, record: Record) -> None:
    partial = pids / f".{record.name}"
    partial.write_text(json.dumps(asdict(record)))
    partial.rename(pids / f"{record.name}.json")


def _signal(record: Record, number: signal.Signals) -> None:
    if alive(record):
        os.kill(record.pid, number)


def _gone_within(record: Record, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while alive(record):
        if time.monotonic() > deadline:
            return False
        _reap(record.pid)
        time.sleep(POLL_SECONDS)
    _reap(record.pid)
    return True


def _reap(pid: int) -> None:
    try:
        os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        return  # started by an earlier run: init reaps it
