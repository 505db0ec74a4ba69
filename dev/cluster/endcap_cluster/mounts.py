# SPDX-License-Identifier: Apache-2.0
"""Mounts below a directory: volumes of pods, root file systems of containers, network namespaces."""

import subprocess
from pathlib import Path

from endcap_cluster.errors import ClusterError


def below(directory: Path) -> list[Path]:
    """Mount points inside `directory`, deepest first; one mounted twice is listed twice."""
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    points = [Path(_unescaped(line.split(" ")[4])) for line in lines]
    inside = [point for point in points if point.is_relative_to(directory)]
    return sorted(inside, key=lambda point: -len(point.parts))


def unmount_below(directory: Path) -> None:
    """Unmount all of it; what is still busy is detached, and goes with its last user.

    A mount may vanish while we are at it, so what counts is that none is left.
    """
    for point in below(directory):
        subprocess.run(["umount", "--lazy", str(point)], check=False, capture_output=True)
    left = below(directory)
    if left:
        raise ClusterError(f"could not unmount {', '.join(map(str, left))}: end what uses it and try again")


def _unescaped(text: str) -> str:
    return text.encode().decode("unicode_escape").encode("latin-1").decode()
