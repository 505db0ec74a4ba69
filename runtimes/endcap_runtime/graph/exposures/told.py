# SPDX-License-Identifier: Apache-2.0
"""What a pod has told today, so that a unit is told once a day and not once a request.

It is bounded: when it is full, the older half goes, and its units are told again. That costs a line in the log and
counts nothing twice, since an exposure is known by its id.
"""

from __future__ import annotations

MOST = 200_000


class Told:
    """Keys are 64-bit hashes; `most` of them are remembered at a time, those of one day alone."""

    def __init__(self, most: int = MOST) -> None:
        self._half = max(1, most // 2)
        self._day = 0
        self._newer: set[int] = set()
        self._older: set[int] = set()

    def __len__(self) -> int:
        return len(self._newer) + len(self._older)

    def first(self, key: int, day: int) -> bool:
        """Whether it has not been told on this day; from now on it has. A request that came before midnight and ends
        after it is of the new day: by turns the two would each forget what was told of the other.
        """
        if day not in (self._day, self._day - 1):
            self._day, self._newer, self._older = day, set(), set()
        if key in self._newer or key in self._older:
            return False
        if len(self._newer) >= self._half:
            self._newer, self._older = set(), self._newer
        self._newer.add(key)
        return True

    def forget(self, key: int) -> None:
        """It was not taken: the next request of its unit tells it again."""
        self._newer.discard(key)
        self._older.discard(key)
