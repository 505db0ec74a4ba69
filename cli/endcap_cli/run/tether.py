# SPDX-License-Identifier: Apache-2.0
"""`python -m endcap_cli.run.tether PROGRAM…`: becomes a program that ends with whoever started it.

The leash of our own servers is a thread in them; a program that is not ours gets a second process beside it that
watches the pipe. The program takes the place of this interpreter, so that its signals and its exit status are its own.
"""

from __future__ import annotations

import os
import signal
import sys
import time

from endcap_cli.run.leash import GRACE_SECONDS


def main() -> None:
    program = os.getpid()
    starter = os.dup(0)
    if os.fork() == 0:
        _watch(starter, program)
    os.close(starter)
    with open(os.devnull, "rb") as nothing:  # noqa: PTH123  a descriptor is what is wanted
        os.dup2(nothing.fileno(), 0)
    os.execvp(sys.argv[1], sys.argv[1:])  # noqa: S606  the program that `endcap run` asks for


def _watch(starter: int, program: int) -> None:
    """Ends the process group, which is the program's own, in order and then for certain."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    while os.read(starter, 1):
        pass
    os.killpg(0, signal.SIGTERM)
    deadline = time.monotonic() + GRACE_SECONDS
    while os.getppid() == program and time.monotonic() < deadline:
        time.sleep(0.05)
    os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    main()
