# SPDX-License-Identifier: Apache-2.0
"""A short name for a value: what is equal has the same, whoever computes it."""

from __future__ import annotations

import hashlib
import json
from typing import Any


def digest_of(value: Any) -> str:
    """Twelve hexadecimal digits that name a JSON value, whatever the order of its keys."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:12]
