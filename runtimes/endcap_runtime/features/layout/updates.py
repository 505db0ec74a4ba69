# SPDX-License-Identifier: Apache-2.0
"""An event, and what it does to the state of one entity in one view."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, NamedTuple

SKEW_MS = 60_000
MINUTE_MS = 60_000
GRACE_MS = 3_600_000


@dataclass(frozen=True, slots=True)
class Event:
    """`time_ms` is the producer's; `source` and `id` together name the event, as CloudEvents demands."""

    id: str
    source: str
    type: str
    time_ms: int
    data: Mapping[str, Any]


class Update(NamedTuple):
    """Arguments of one call of the library: its function, keys and arguments (library.lua)."""

    view: str
    function: str
    state: bytes
    seen: bytes
    event: bytes
    change: bytes


def fingerprint(event: Event, of: bytes = b"") -> bytes:
    """63 bits of who the event is, as a decimal: sets of whole numbers take 8 bytes each in Redis.

    `of` tells apart what one event does to several units; of one length each, or it could be a part of an id.
    """
    name = f"{len(event.source)}:{event.source}{event.id}".encode("utf-8", "surrogatepass")
    return b"%d" % (int.from_bytes(blake2b(name + of, digest_size=8).digest(), "little") >> 1)


def expiry_ms(ttl_ms: int) -> int:
    """How long Redis keeps what is not written again: longer than it counts, so that EXPIRED can be told."""
    return ttl_ms + min(ttl_ms, GRACE_MS)
