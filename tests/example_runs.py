# SPDX-License-Identifier: Apache-2.0
"""An example served by `endcap run` in a process of its own, on free ports."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from endcap_cluster.ports import free as free_ports

START_SECONDS = 120


class Places(NamedTuple):
    """URLs of the graphs by name, and of the ingest."""

    graphs: dict[str, str]
    ingest: str


@contextmanager
def running(folder: Path, graphs: Sequence[str]) -> Iterator[Places]:
    """Once all `graphs` are served."""
    port, events_port = free_ports(2)
    command = [sys.executable, "-m", "endcap_cli", "run", str(folder)]
    with (
        (folder / "said.txt").open("wb") as said,
        (folder / "run.log").open("wb") as log,
        subprocess.Popen(
            [*command, f"--port={port}", f"--events-port={events_port}"], stdout=said, stderr=log
        ) as process,
    ):
        try:
            yield Places(_announced(folder, process, graphs), f"http://127.0.0.1:{events_port}")
        finally:
            process.terminate()


def _announced(folder: Path, process: subprocess.Popen[bytes], graphs: Sequence[str]) -> dict[str, str]:
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end and process.poll() is None:
        found = dict(re.findall(r"^([a-z-]+) on (\S+)", (folder / "said.txt").read_text(), re.MULTILINE))
        if all(name in found for name in graphs):
            return {name: found[name] for name in graphs}
        time.sleep(0.1)
    raise AssertionError((folder / "run.log").read_text())
