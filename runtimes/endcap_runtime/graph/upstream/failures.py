# SPDX-License-Identifier: Apache-2.0
"""Every way in which a call to a model fails ends in one exception, so that onError needs one rule."""

from __future__ import annotations

from typing import Literal

Kind = Literal["refused", "timeout", "reset", "status", "malformed", "too_large"]


class UpstreamFailed(Exception):
    """A model did not answer as its contract says. The message never carries an address or a body."""

    def __init__(self, kind: Kind, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.kind: Kind = kind
        self.message = message
        self.status = status
