# SPDX-License-Identifier: Apache-2.0
"""All that lies in a Redis, so that a test can say that nothing changed, or that something is nowhere."""

from __future__ import annotations

from typing import Any


def contents(client: Any) -> dict[bytes, Any]:
    """By key; streams without who holds what."""
    return {key: _value(client, key) for key in client.scan_iter(count=10_000)}


def _value(client: Any, key: bytes) -> Any:
    match client.type(key):
        case b"string":
            return client.get(key)
        case b"hash":
            return client.hgetall(key)
        case b"set":
            return client.smembers(key)
        case b"stream":
            return client.xrange(key)
        case other:
            raise AssertionError(f"{key!r} is {other!r}, and nothing of ours is")
