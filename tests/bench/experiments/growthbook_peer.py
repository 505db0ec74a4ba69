# SPDX-License-Identifier: Apache-2.0
"""What GrowthBook's SDK does with the same units, in an environment of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from functools import cache
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1]))

from contestants import SOURCES, environment

UNITS = 50_000


@cache
def measured() -> dict[str, float]:
    """p50 and p99 of a decision in µs, and percent `moved` from 50/25/25 to 34/33/33."""
    command = [
        str(environment("growthbook") / "python"),
        str(SOURCES / "growthbook_assignment.py"),
        str(UNITS),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found: dict[str, float] = json.loads(done.stdout)
    return found
