# SPDX-License-Identifier: Apache-2.0
"""Light clusters whose test run was killed: the next run ends them.

A light cluster outlives the process that started it, as it must for the command line. One that belongs to a
test run is written down with that run, so that any later run sees which of them nobody will stop.
"""

import json
import os
import uuid
from pathlib import Path

from endcap_cluster import light, processes
from endcap_cluster.layout import KEPT

REGISTRY = KEPT / "test-clusters"


def note(directory: Path, registry: Path = REGISTRY) -> None:
    """Write down that the light cluster of `directory` belongs to this process."""
    registry.mkdir(parents=True, exist_ok=True)
    entry = {"directory": str(directory), "pid": os.getpid(), "started": processes.start_time(os.getpid())}
    (registry / f"{uuid.uuid4().hex}.json").write_text(json.dumps(entry))


def end_all(registry: Path = REGISTRY) -> None:
    """End the light clusters whose process is gone; those of processes that live are left alone."""
    for file in registry.glob("*.json"):
        entry = json.loads(file.read_text())
        if processes.start_time(entry["pid"]) != entry["started"]:
            light.down(Path(entry["directory"]))
            file.unlink(missing_ok=True)  # another run may have done the same at the same time
