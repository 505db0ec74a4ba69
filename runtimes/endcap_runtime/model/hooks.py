# SPDX-License-Identifier: Apache-2.0
"""Python that the artefact brings: hooks and entry points, named `module:function`."""

from __future__ import annotations

import importlib
import inspect
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from endcap_runtime.termination import StartFailed


def function(name: str, directory: Path, reason: str) -> Callable[..., Any]:
    """The function that `module:function` names in the artefact; raises StartFailed with `reason`."""
    module_name, _, attribute = name.partition(":")
    module = _module(module_name, directory, f"{name} cannot be imported", reason)
    found = getattr(module, attribute, None)
    if not callable(found):
        raise StartFailed(reason, f"{name}: module {module_name} has no function {attribute}")
    if inspect.iscoroutinefunction(found):
        raise StartFailed(reason, f"{name} is a coroutine function: make it a plain function")
    checked: Callable[..., Any] = found
    return checked


def _module(name: str, directory: Path, failure: str, reason: str) -> ModuleType:
    _refuse_shadowed(name, directory, reason)
    if str(directory) not in sys.path:
        sys.path.append(str(directory))
    try:
        return importlib.import_module(name)
    except Exception as error:
        raise StartFailed(reason, f"{failure}: {type(error).__name__}: {error}") from error


def _refuse_shadowed(name: str, directory: Path, reason: str) -> None:
    """The artefact comes last on the path, so that it cannot replace a module that the server itself imports."""
    top = name.partition(".")[0]
    brought = any((directory / candidate).exists() for candidate in (f"{top}.py", top))
    loaded = sys.modules.get(top)
    origin = str(getattr(loaded, "__file__", "") or "")
    if brought and (top in sys.stdlib_module_names or (loaded and not origin.startswith(str(directory)))):
        raise StartFailed(reason, f"module {top} of the artefact has the name of an installed one: rename it")
