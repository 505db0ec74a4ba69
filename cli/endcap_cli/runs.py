# SPDX-License-Identifier: Apache-2.0
"""What runs on this machine tell other commands of their experiments: a file each, in the user's own cache folder, with
what a cluster would keep in objects.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from endcap_cli.terminal import CommandError


def cache_home() -> Path:
    home = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(home).expanduser() / "endcap"


def _folder() -> Path:
    return cache_home() / "runs"


def publish(port: int, experiments: list[dict[str, Any]]) -> None:
    """Of this process, whose first graph listens on `port`; at once, so that nobody reads half of it."""
    folder = _folder()
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    written = folder / f".{os.getpid()}"
    written.write_text(json.dumps({"port": port, "experiments": experiments}), encoding="utf-8")
    os.replace(written, folder / f"{os.getpid()}.json")  # noqa: PTH105  atomic on purpose


def withdraw() -> None:
    (_folder() / f"{os.getpid()}.json").unlink(missing_ok=True)


def published(name: str, port: int | None) -> dict[str, Any]:
    """The experiment of that name in a run; raises CommandError unless it is in exactly one."""
    runs = [run for run in _runs() if port in (None, run["port"])]
    if not runs:
        where = f" on port {port}" if port else ""
        raise CommandError(f"no endcap run{where} with experiments: start one, or leave out --local")
    found = [(run["port"], one) for run in runs for one in run["experiments"] if one["name"] == name]
    if len(found) > 1:
        ports = ", ".join(str(at) for at, _ in found)
        raise CommandError(f"several runs have an experiment {name}: choose with --port {ports}", status=2)
    if not found:
        names = ", ".join(sorted({one["name"] for run in runs for one in run["experiments"]})) or "none"
        raise CommandError(f"no endcap run has an experiment {name}: there is {names}")
    return dict(found[0][1])


def _runs() -> Iterator[dict[str, Any]]:
    """Of processes that still run; what a killed one left is removed."""
    for file in sorted(_folder().glob("[0-9]*.json")):
        if _is_alive(int(file.stem)):
            yield dict(json.loads(file.read_text(encoding="utf-8")))
        else:
            file.unlink(missing_ok=True)


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
