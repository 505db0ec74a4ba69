# SPDX-License-Identifier: Apache-2.0
"""features.json as pods read it: when it has to be read, compiled, or refused in the words of a status."""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import ValidationError

from endcap_api.features_config import FeaturesConfig
from endcap_runtime.features.lookup.compiled import Compiled, InvalidFeatures, compile_features
from endcap_runtime.mounted import signature

WANTED = "features.json"
_AGAIN_SECONDS = 5.0
_MOST_TOLD = 500


class Rejected(NamedTuple):
    """A revision that is not served, in the words of the status."""

    revision: str | None
    reason: str
    message: str

    @property
    def told(self) -> dict[str, Any]:
        """For a line of the log, whose own field is the message."""
        return {"revision": self.revision, "reason": self.reason, "detail": self.message}


class Refused(Exception):
    """A configuration that cannot be served; the message says why and what to do."""

    def __init__(self, revision: str | None, reason: str, message: str) -> None:
        super().__init__(f"{reason}: {message}")
        self.rejected = Rejected(revision, reason, message)


def failed(error: Exception) -> Rejected:
    """What is said of a fault that is ours, or that may pass."""
    told = f"{type(error).__name__}: {error}"[:_MOST_TOLD]
    return Rejected(None, "Failed", f"it could not be taken, and is tried again: {told}")


def compiled_of(text: bytes) -> Compiled:
    """Raises Refused."""
    try:
        config = FeaturesConfig.model_validate_json(text)
    except ValidationError as error:
        raise Refused(None, "InvalidSpec", _sentence(error)) from error
    try:
        return compile_features(config)
    except InvalidFeatures as error:
        raise Refused(config.revision, "InvalidSpec", str(error)) from error


def _sentence(error: ValidationError) -> str:
    faults = error.errors(include_url=False, include_input=False)
    return "; ".join(f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in faults)


class Watched:
    """A file that is to be read when it changed, and once more a moment after that failed for a passing reason."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._seen: object = None
        self._again = math.inf

    def due(self) -> bool:
        """Whether to read it now; who asks is taken to do so."""
        signature = self._signature()
        if signature is None or (signature == self._seen and time.monotonic() < self._again):
            return False
        self._seen, self._again = signature, math.inf
        return True

    def later(self) -> None:
        self._again = time.monotonic() + _AGAIN_SECONDS

    def _signature(self) -> object:
        try:
            return signature(self._file)
        except OSError:
            return None
