# SPDX-License-Identifier: Apache-2.0
"""Prometheus metrics: a registry a server, handed to whoever counts, so that nothing is global.

Labels come from the configuration (names, versions, steps) and from fixed vocabularies (codes, phases, kinds);
never from a path or a value that a caller chose.
"""

from __future__ import annotations

import platform

from prometheus_client import CollectorRegistry, GCCollector, Info, PlatformCollector, ProcessCollector
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from endcap_runtime.asgi import Response

# Seconds; a small model answers in tens of microseconds, a slow one in seconds.
SECONDS_BUCKETS = (
    0.0001,
    0.00025,
    0.0005,
    0.001,
    0.0025,
    0.005,
    0.01,
    0.025,
    0.05,
    0.1,
    0.25,
    0.5,
    1.0,
    2.5,
    5.0,
    10.0,
)
ROWS_BUCKETS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 4096)


def registry() -> CollectorRegistry:
    """A new registry with the process's own metrics."""
    made = CollectorRegistry()
    ProcessCollector(registry=made)
    PlatformCollector(registry=made)
    GCCollector(registry=made)
    Info("endcap_runtime", "The runtime of this pod.", registry=made).info(
        {"python": platform.python_version()}
    )
    return made


def exposition(metrics: CollectorRegistry) -> Response:
    return Response(200, generate_latest(metrics), CONTENT_TYPE_LATEST.encode())
