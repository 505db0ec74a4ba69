# SPDX-License-Identifier: Apache-2.0
"""What a value is worth: the one numbering that windows give, the sidecar sends and a graph reads."""

from __future__ import annotations

from enum import IntEnum


class Status(IntEnum):
    """By number as it travels; the meanings are in docs/contract-features.md."""

    PRESENT = 0
    DEFAULTED = 1
    EXPIRED = 2
    TRUNCATED = 3
    STALE = 4
    ERROR = 5


STATUS_NAMES = tuple(status.name for status in Status)
