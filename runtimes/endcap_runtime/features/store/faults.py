# SPDX-License-Identifier: Apache-2.0
"""The one error of this package: every way in which Redis cannot be asked."""

from __future__ import annotations

import asyncio
import ssl

from redis import exceptions


class StoreUnavailable(Exception):
    """`reason` is one of a few words, for a metric and a log line; no error of Redis is told to who asks."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(f"{reason}: {message}")
        self.reason = reason
        self.message = message


_CODES = {
    "READONLY": "readonly", "LOADING": "loading", "NOAUTH": "credentials", "WRONGPASS": "credentials",
    "NOPERM": "permission", "OOM": "out_of_memory", "CLUSTERDOWN": "cluster_down", "TRYAGAIN": "resharding",
    "MASTERDOWN": "loading", "MISCONF": "disk", "BUSY": "busy", "MOVED": "cluster", "ASK": "cluster",
    "WRONGTYPE": "foreign_key", "CROSSSLOT": "cluster", "TTL": "resharding",
}  # fmt: skip
_KINDS: tuple[tuple[type[BaseException], str], ...] = (
    (exceptions.AuthenticationError, "credentials"),
    (exceptions.NoPermissionError, "permission"),
    (exceptions.ReadOnlyError, "readonly"),
    (exceptions.BusyLoadingError, "loading"),
    (exceptions.OutOfMemoryError, "out_of_memory"),
    (exceptions.ClusterDownError, "cluster_down"),
    (exceptions.TimeoutError, "timeout"),
    (asyncio.TimeoutError, "timeout"),
    (exceptions.TryAgainError, "resharding"),
    (exceptions.SlotNotCoveredError, "cluster_down"),
    (ssl.SSLError, "tls"),
    (exceptions.ConnectionError, "connection"),
    (OSError, "connection"),
    (exceptions.RedisClusterException, "connection"),
)


def unavailable(error: BaseException) -> StoreUnavailable:
    """What an error of the client or the server means to who asks."""
    text = str(error)
    if "Cluster mode is not enabled" in text:
        return StoreUnavailable("no_cluster", "this Redis is no cluster: set redis.cluster to false")
    code = text.split(" ", 1)[0]
    # redis-py tells of a certificate as of any failed connection; what failed is what it was handling.
    beneath = error.__context__ if isinstance(error.__context__, ssl.SSLError) else error
    for kind, reason in _KINDS:
        if isinstance(beneath, kind):
            return StoreUnavailable(reason, text)
    return StoreUnavailable(_CODES.get(code, "refused"), text)
