# SPDX-License-Identifier: Apache-2.0
"""What a table of bad resources is made of."""

from __future__ import annotations

from typing import Any, NamedTuple


class Refusal(NamedTuple):
    """`words` stand in the message of both readers; `ours` only in that of our own reader."""

    name: str
    manifest: dict[str, Any]
    field: str
    words: str
    ours: str = ""
