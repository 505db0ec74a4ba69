# SPDX-License-Identifier: Apache-2.0
"""Commands as a person would type them, with what they print."""

import subprocess
import sys
from pathlib import Path

from endcap_cluster.errors import ClusterError
from endcap_cluster.progress import say


def endcap(ingest: str, *arguments: str) -> None:
    """`endcap ... --url=<ingest>`; raises ClusterError when it fails."""
    _run(f"endcap {_shown(arguments)}", "-m", "endcap_cli", *arguments, f"--url={ingest}")


def script(folder: Path, *arguments: str) -> str:
    """`python <folder>`, and what it printed; raises ClusterError when it fails."""
    return _run(f"python {'/'.join(folder.parts[-3:])} {_shown(arguments)}", str(folder), *arguments)


def _run(shown: str, *arguments: str) -> str:
    done = subprocess.run([sys.executable, *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise ClusterError(f"{shown} failed: {done.stdout}{done.stderr}".strip())
    printed = done.stdout.strip()
    say(f"  $ {shown}")
    for line in printed.splitlines():
        say(f"  {line}")
    return printed


def _shown(arguments: tuple[str, ...]) -> str:
    return " ".join(Path(each).name if each.startswith("/") else each for each in arguments)
