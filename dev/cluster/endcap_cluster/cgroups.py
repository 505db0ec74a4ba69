# SPDX-License-Identifier: Apache-2.0
"""The control groups that a kubelet makes for its pods: the surest list of what runs in containers."""

import contextlib
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

from endcap_cluster import wait

ROOT = Path("/sys/fs/cgroup")
PODS = "kubepods"


def trees() -> list[Path]:
    """The top of the pods' groups in every hierarchy (one for cgroup v2, one a controller for v1)."""
    found = [ROOT / PODS, *ROOT.glob(f"*/{PODS}")]
    return [tree for tree in found if tree.is_dir()]


def busy() -> bool:
    """Whether a process runs in a pod of whatever Kubernetes."""
    return any(True for _ in _pids())


def end_containers() -> None:
    """Kill everything in the pods' groups, and wait until they are empty."""

    def emptied() -> bool:
        pids = set(_pids())
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):  # ended since we read the list
                os.kill(pid, signal.SIGKILL)
        return not pids

    wait.until("the end of every container", emptied, seconds=20)


def remove() -> None:
    """Remove the emptied groups, deepest first."""
    for tree in trees():
        for group in sorted(_groups(tree), key=lambda path: -len(path.parts)):
            _remove(group)


def _remove(group: Path) -> None:
    # The kernel says "busy" for some milliseconds after the last process of a group has ended.
    for _ in range(100):
        try:
            group.rmdir()
        except OSError:
            time.sleep(0.02)
        else:
            return
    group.rmdir()


def _groups(tree: Path) -> list[Path]:
    return [tree, *(path for path in tree.rglob("*") if path.is_dir())]


def _pids() -> Iterator[int]:
    for tree in trees():
        for group in _groups(tree):
            with contextlib.suppress(FileNotFoundError, OSError):  # a group may vanish under our hands
                yield from map(int, (group / "cgroup.procs").read_text().split())
