# SPDX-License-Identifier: Apache-2.0
"""Finds the model file in the artefact's directory; the init container has fetched and checked it before."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import orjson

from endcap_runtime.termination import StartFailed

NOTE = ".endcap.json"
FILES: Mapping[str, tuple[str, ...]] = {
    "lightgbm": ("model.txt",),
    "sklearn": ("model.skops", "model.joblib"),
}


def model_file(framework: str, directory: Path) -> Path:
    """The artefact itself where it is one file, else the model file in the root of the archive."""
    if (single := _single(directory)) is not None:
        return single
    for name in FILES[framework]:
        if (directory / name).is_file():
            return directory / name
    names = " or ".join(FILES[framework])
    raise StartFailed(
        "ArtefactInvalid", f"the archive has no {names} in its root: add it for framework {framework}"
    )


def _single(directory: Path) -> Path | None:
    try:
        name = orjson.loads((directory / NOTE).read_bytes())["file"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StartFailed(
            "ArtefactInvalid", f"{directory} holds no fetched artefact ({NOTE} is not there)"
        ) from error
    return directory / name if name else None
