# SPDX-License-Identifier: Apache-2.0
"""What follows a request whose shopper has the answer, or has left: it can fail nobody any more."""

from __future__ import annotations

from typing import Protocol

from endcap_runtime.graph.compile import Pipeline
from endcap_runtime.graph.query import Query

ANSWERED = 200


class After(Protocol):
    """Returns at once. `seconds` is how long the answer took; status 499 is a client that left before it."""

    def __call__(self, pipeline: Pipeline, query: Query, seconds: float, status: int) -> None: ...
