# SPDX-License-Identifier: Apache-2.0
"""Files of a mounted ConfigMap, as those who follow them see them change."""

from __future__ import annotations

from pathlib import Path


def signature(file: Path) -> object:
    """What changes when the kubelet swaps the directory behind its `..data` link, or somebody writes the file.

    Raises OSError, FileNotFoundError where there is none.
    """
    status = file.stat()
    return status.st_dev, status.st_ino, status.st_mtime_ns, status.st_size
