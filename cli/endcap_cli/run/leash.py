# SPDX-License-Identifier: Apache-2.0
"""`python -m endcap_cli.run.leash MODULE`: runs a module that ends with whoever started it, however that ended.

Nobody can catch SIGKILL, and the kernel's own parent-death signal follows the thread that started a process, which
here is one of a pool. So standard input is a pipe that the starter alone holds open and never writes to: when it
closes, the starter is gone.
"""

from __future__ import annotations

import os
import runpy
import signal
import sys
import threading
import time

GRACE_SECONDS = 5.0


def main() -> None:
    module = sys.argv[1]
    starter = os.dup(0)
    with open(os.devnull, "rb") as nothing:  # noqa: PTH123  a descriptor is what is wanted
        os.dup2(nothing.fileno(), 0)
    threading.Thread(target=_watch, args=(starter,), name="leash", daemon=True).start()
    sys.argv = sys.argv[1:]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


def _watch(starter: int) -> None:
    """Ends the process group, which is this process's own, in order and then for certain."""
    while os.read(starter, 1):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(GRACE_SECONDS)
    os.killpg(os.getpgid(0), signal.SIGKILL)


if __name__ == "__main__":
    main()
