# SPDX-License-Identifier: Apache-2.0
"""What every server that a test starts has: a port on loopback, and lines of JSON in a file that is its stderr."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


class ServerProcess:
    """`log_file` is where its stderr goes."""

    port: int
    log_file: Path

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def log(self) -> str:
        return self.log_file.read_text()

    @property
    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.log.splitlines() if line.startswith("{")]
