# SPDX-License-Identifier: Apache-2.0
"""A model that is a Python callable: `module:factory` in the artefact, called with the artefact's directory."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

from endcap_runtime.model.hooks import function
from endcap_runtime.termination import StartFailed


def load(entry_point: str, directory: Path) -> Callable[[dict[str, Any]], Any]:
    """The factory's callable, from columns to columns; raises StartFailed when there is none."""
    factory = function(entry_point, directory, "ModelLoadFailed")
    try:
        model = factory(directory)
    except Exception as error:
        message = f"{entry_point} failed: {type(error).__name__}: {error}"
        raise StartFailed("ModelLoadFailed", message) from error
    if not callable(model) or inspect.iscoroutinefunction(model):
        raise StartFailed(
            "ModelLoadFailed", f"{entry_point} must return a plain callable, predict(columns) -> columns"
        )
    called: Callable[[dict[str, Any]], Any] = model
    return called
