# SPDX-License-Identifier: Apache-2.0
"""Arguments for remembered functions: a resource is looked at far more often than it changes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Generic, TypeVar

T = TypeVar("T")
MOST = 8192


@dataclass(frozen=True)
class Keyed(Generic[T]):
    """A value that a cache knows by its text, e.g. its JSON, since it cannot be hashed itself."""

    key: str
    value: T = field(compare=False)
