# SPDX-License-Identifier: Apache-2.0
"""A unit as text, and what stands for it where the text must not be: in Redis, in logs, on pages."""

from __future__ import annotations

import hmac
from hashlib import sha256
from typing import Any
from zlib import crc32

from endcap_runtime.features.layout.keys import PARTITIONS

LONGEST = 1024
DIGITS = 32


def hidden(key: bytes, unit: str) -> str:
    """`HMAC-SHA256(key, unit)`, its first 32 hexadecimal digits."""
    return hmac.digest(key, unit.encode(), sha256).hex()[:DIGITS]


def tag_of(hidden_unit: str) -> str:
    """The hash tag of the part of the store that a unit lies in."""
    return f"{{{crc32(hidden_unit.encode()) % PARTITIONS}}}"


def fault_of(unit: Any) -> str | None:
    """What is wrong with a unit that is given as text."""
    if type(unit) is not str:
        return "must be the unit as a text: send it in quotes"
    try:
        length = len(unit.encode())
    except UnicodeEncodeError:
        return "holds half a character (a lone surrogate): send valid Unicode"
    if not 1 <= length <= LONGEST:
        return f"a unit has 1 to {LONGEST} bytes, this one {length}: send its id"
    return None
