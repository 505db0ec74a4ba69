# SPDX-License-Identifier: Apache-2.0
"""Redis' clock, read here: the T of every window.

A sample says that Redis' clock stood at some time between a question and its answer, so it bounds the offset to our
monotonic clock from both sides. The upper bound is used: then nothing that was applied before a read is later than
the T that the read is evaluated at, and an event is seen in the first lookup after it. The bound is as tight as the
quickest of the last samples; a sample that contradicts the earlier ones means that the clock was set, or that another
server answers.
"""

from __future__ import annotations

import time
from collections import deque
from itertools import takewhile

_SAMPLES = 10


class RedisClock:
    """Milliseconds of Redis' clock; the machine's own until Redis was asked."""

    def __init__(self) -> None:
        self._bounds: deque[tuple[float, float]] = deque(maxlen=_SAMPLES)
        self._offset = time.time() * 1000 - time.monotonic() * 1000

    def seen(self, redis_ms: int, asked: float, answered: float) -> None:
        """A sample; asked and answered in seconds of time.monotonic()."""
        low, high = redis_ms - answered * 1000, redis_ms + 1 - asked * 1000
        agreeing = list(takewhile(lambda b: b[0] <= high and low <= b[1], reversed(self._bounds)))
        self._bounds = deque([*reversed(agreeing), (low, high)], maxlen=_SAMPLES)
        self._offset = min(bound for _, bound in self._bounds)

    def now_ms(self) -> int:
        return int(time.monotonic() * 1000 + self._offset)
