# SPDX-License-Identifier: Apache-2.0
"""Does something dangerous in a child process first, under limits of memory and time: the child may die of it.

The child is a fork, so that libraries are not imported twice: the server has neither a loop nor threads yet, and
numeric libraries have been held to one (`endcap_runtime.__init__`). A child that hangs all the same is ended.
"""

from __future__ import annotations

import contextlib
import os
import resource
import select
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NoReturn

from endcap_runtime.termination import StartFailed

SECONDS = 60
BASE_BYTES = 1024**3
GROWTH = 20  # times a file, which may be compressed
SPARE_BYTES = 16 * 1024**2
# What the container may take and takes, by version of the kernel's control groups.
_GROUPS = (("memory.max", "memory.current"), ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes"))
_MOST_MESSAGE = 4096


def allowance(path: Path, groups: Path = Path("/sys/fs/cgroup")) -> int:
    """Bytes that loading a file may take: by its size, and less than the container has left, for a container that
    runs out of memory is killed whole and says nothing.
    """
    wanted = BASE_BYTES + GROWTH * path.stat().st_size
    return max(SPARE_BYTES, min([wanted, *_left(groups)]))


def _left(groups: Path) -> Iterator[int]:
    for limit, used in _GROUPS:
        with contextlib.suppress(OSError, ValueError):  # another version, or no limit: the word "max"
            yield int((groups / limit).read_text()) - int((groups / used).read_text()) - SPARE_BYTES


def tried(work: Callable[[], object], most_bytes: int) -> str | None:
    """Why `work` fails, or None; it may take `most_bytes` of private memory more than the process has already."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        _work(work, most_bytes, writer)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        if not select.select([pipe], [], [], SECONDS)[0]:
            os.kill(child, signal.SIGKILL)
        message = pipe.read(_MOST_MESSAGE).decode(errors="replace")
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if status == 0:
        return None
    return message or f"it ended by {signal.Signals(-status).name if status < 0 else f'exit code {status}'}"


def _work(work: Callable[[], object], most_bytes: int, writer: int) -> NoReturn:
    try:
        _limit(resource.RLIMIT_DATA, _private_bytes() + most_bytes)
        _limit(resource.RLIMIT_CPU, SECONDS)
        work()
    except StartFailed as failed:
        os.write(writer, failed.message.encode()[:_MOST_MESSAGE])
    except BaseException as error:  # noqa: BLE001 the child ends here, whatever it was
        os.write(writer, f"{type(error).__name__}".encode())
    else:
        os._exit(0)
    os._exit(1)


def _limit(kind: int, most: int) -> None:
    resource.setrlimit(kind, (most, most))


def _private_bytes() -> int:
    """What RLIMIT_DATA counts, of this process: the sixth number of statm, in pages."""
    with open("/proc/self/statm", encoding="ascii") as statm:  # noqa: PTH123 a Path would do no more
        return int(statm.read().split()[5]) * resource.getpagesize()
