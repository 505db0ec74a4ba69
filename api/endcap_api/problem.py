# SPDX-License-Identifier: Apache-2.0
"""A field and what its author must do about it."""

from __future__ import annotations

from typing import NamedTuple


class Problem(NamedTuple):
    """Something that the author of a resource must change."""

    field: str
    message: str

    def __str__(self) -> str:
        return f"{self.field}: {self.message}"
