# SPDX-License-Identifier: Apache-2.0
"""KServe's InferenceGraph router, built from its own sources at pinned sums, when Go is there."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

Router = dict[str, Any]

ROOT = Path(__file__).resolve().parent.parent.parent
SOURCE = Path(__file__).resolve().parent / "peers" / "kserve_router"
BINARY = ROOT / ".endcap" / "peers" / "kserve-router"
ROUTER_PORT = 8080  # it knows no other


def _taken() -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", ROUTER_PORT)) == 0


def built() -> Path | None:
    """The binary; made when it is not there, which takes minutes. None where it cannot be made or cannot listen."""
    if _taken():
        print(f"port {ROUTER_PORT} is taken: the router's figures are those on record", file=sys.stderr)
        return None
    if BINARY.exists():
        return BINARY
    if shutil.which("go") is None:
        print("go is not installed: the router's figures are those on record", file=sys.stderr)
        return None
    BINARY.parent.mkdir(parents=True, exist_ok=True)
    command = ["go", "build", "-o", str(BINARY), "github.com/kserve/kserve/cmd/router"]
    done = subprocess.run(command, cwd=SOURCE, capture_output=True, text=True, env=os.environ, check=False)
    if done.returncode != 0:
        print(
            f"the router could not be built, its figures are those on record:\n{done.stderr[-500:]}",
            file=sys.stderr,
        )
        return None
    return BINARY
