# SPDX-License-Identifier: Apache-2.0
"""Keeps requests from waiting for a variant that is down: after a few failures in a row it is left alone."""

from __future__ import annotations

from dataclasses import dataclass

FAILURES = 5
OPEN_SECONDS = 1.0


@dataclass(slots=True)
class Breaker:
    """Times are in seconds of one monotonic clock."""

    failures: int = 0
    until: float = 0.0

    def lets(self, now: float) -> bool:
        """Whether a request may ask. Of those that find it open, one a second may, to see whether it is back."""
        if self.failures < FAILURES:
            return True
        if now < self.until:
            return False
        self.until = now + OPEN_SECONDS
        return True

    def failed(self, now: float) -> bool:
        """Whether it opens with this failure."""
        self.failures += 1
        self.until = now + OPEN_SECONDS
        return self.failures == FAILURES

    def worked(self) -> None:
        self.failures = 0
