# SPDX-License-Identifier: Apache-2.0
"""How a container says why it could not start: a message that the kubelet copies into the pod's status."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path

import orjson

MOST_BYTES = 4096  # what the kubelet keeps


class StartFailed(Exception):
    """The server cannot start; `reason` is a word of docs/contracts.md, the message says what to do."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(f"{reason}: {message}")
        self.reason = reason
        self.message = message


def report(reason: str, message: str, environ: Mapping[str, str]) -> None:
    """Writes the termination message; outside a pod, where its file cannot be made, the log has to do."""
    value = orjson.dumps({"reason": reason, "message": message[: MOST_BYTES // 4]})
    with contextlib.suppress(OSError):
        Path(environ.get("ENDCAP_TERMINATION_LOG", "/dev/termination-log")).write_bytes(value)
