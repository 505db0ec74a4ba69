# SPDX-License-Identifier: Apache-2.0
"""Loads a skops file under limits of memory and time, in a process that may die of it."""

from __future__ import annotations

import resource
import sys
from pathlib import Path

BASE_BYTES = 1024**3
SECONDS = 60
GROWTH = 20


def limit(path: Path) -> None:
    """Private memory: room for the libraries, and twenty times the file, which is compressed."""
    most = BASE_BYTES + GROWTH * path.stat().st_size
    resource.setrlimit(resource.RLIMIT_DATA, (most, most))
    resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))


def main() -> None:
    from endcap_runtime.model.sklearn_model import load_skops  # noqa: PLC0415 imported before the limits count
    from endcap_runtime.termination import StartFailed  # noqa: PLC0415

    path = Path(sys.argv[1])
    limit(path)
    try:
        load_skops(path)
    except StartFailed as failed:
        sys.exit(failed.message)
    except MemoryError:
        sys.exit("it needs more memory than a file of its size may")


if __name__ == "__main__":
    main()
