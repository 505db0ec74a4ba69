# SPDX-License-Identifier: Apache-2.0
"""What was last read of a store: the near-cache, and what is served when the store cannot be asked.

Raw states are kept, never windows computed from them, so that a window that is served from here decays as exactly as
one that was just read. Bounded in bytes; what was first read longest ago goes first.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import repeat
from typing import NamedTuple

_OVERHEAD = 300  # bytes of an entry beyond its key and state: two bytes objects, a tuple, floats, a place in the table
INVALID = -1
_SHARE = 16


class Entry(NamedTuple):
    """A state as it was read; `at` in seconds of time.monotonic(), `epoch` of the tracking that guards it."""

    state: bytes | None
    at: float
    epoch: int


class Memory:
    """Entries by key, of at most `most_bytes`."""

    def __init__(self, most_bytes: int) -> None:
        self._most, self._entries, self.size = most_bytes, dict[bytes, Entry](), 0

    def find(self, keys: Sequence[bytes]) -> list[Entry | None]:
        return list(map(self._entries.get, keys))

    def put(self, keys: Sequence[bytes], states: Iterable[bytes | None], at: float, epoch: int) -> None:
        # A key that is there twice, as two bundles of a view ask for it, is held once.
        entries = dict(zip(keys, map(Entry, states, repeat(at), repeat(epoch)), strict=False))
        self.size -= sum(map(_size, entries, map(self._entries.get, entries)))
        self.size += sum(map(_size, entries, entries.values()))
        self._entries.update(entries)
        if self.size > self._most:
            self._make_room()

    def invalidate(self, key: bytes) -> None:
        """The state is no longer that of the store; it is kept for when there is nothing else."""
        if (entry := self._entries.get(key)) is not None:
            self._entries[key] = entry._replace(epoch=INVALID)

    def _make_room(self) -> None:
        """More than is needed now, since what went before is walked past each time."""
        room = self._most - self._most // _SHARE
        gone = []
        for key, entry in self._entries.items():
            if self.size <= room:
                break
            self.size -= _size(key, entry)
            gone.append(key)
        for key in gone:
            del self._entries[key]


def _size(key: bytes, entry: Entry | None) -> int:
    if entry is None:
        return 0
    return _OVERHEAD + len(key) + len(entry.state or b"")
