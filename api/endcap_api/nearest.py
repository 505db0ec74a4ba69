# SPDX-License-Identifier: Apache-2.0
"""The remedy for a name that is not there: the nearest one, or all that are."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches

_SHOWN = 24


def did_you_mean(name: str, known: Sequence[str]) -> str:
    """`did you mean clicks?`, or `use one of clicks, spend` where nothing is near."""
    near = get_close_matches(name, known, n=1, cutoff=0.6)
    if near:
        return f"did you mean {near[0]}?"
    shown = ", ".join(known[:_SHOWN])
    return f"use one of {shown}{', …' if len(known) > _SHOWN else ''}"
