# SPDX-License-Identifier: Apache-2.0
"""What can go wrong behind the front, with the phase that is to blame."""

from __future__ import annotations

from typing import Literal

Phase = Literal["preprocess", "predict", "postprocess"]


class ModelFailed(Exception):
    """A hook or the model failed on its rows. The message is for the caller; the cause is for the log alone."""

    def __init__(self, phase: Phase, message: str) -> None:
        super().__init__(message)
        self.phase = phase


class Expired(Exception):
    """The caller's deadline passed before its rows were predicted."""
