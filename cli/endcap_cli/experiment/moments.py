# SPDX-License-Identifier: Apache-2.0
"""Moments as people read them, in UTC."""

from __future__ import annotations

from datetime import UTC, datetime


def moment(at: int | str) -> str:
    """`24 Nov 2026, 10:00 UTC` of milliseconds or of RFC 3339; a text that is no moment stays as it is."""
    try:
        found = datetime.fromtimestamp(at / 1000, UTC) if isinstance(at, int) else datetime.fromisoformat(at)
    except ValueError:
        return str(at)
    return f"{found.astimezone(UTC):%-d %b %Y, %H:%M} UTC"
