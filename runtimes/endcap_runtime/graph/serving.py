# SPDX-License-Identifier: Apache-2.0
"""What a pod serves now: the pipeline in use with its pages, and what was refused in its place."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import orjson

from endcap_runtime.asgi import Response
from endcap_runtime.graph.compile import Pipeline
from endcap_runtime.graph.experiments.experiment import Experiments
from endcap_runtime.graph.metrics import RequestMetrics


class Rejected(NamedTuple):
    """A revision that is not served, in the words of the status."""

    revision: str | None
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Served:
    """One revision as the server needs it: path and pages as bytes, made once."""

    pipeline: Pipeline
    path: bytes
    pages: Mapping[bytes, Response]
    revision: tuple[bytes, bytes]
    requests: RequestMetrics


class Serving:
    """Changed by the reload alone; a request reads `served` once and keeps it."""

    def __init__(self) -> None:
        self.served: Served | None = None
        self.rejected: Rejected | None = None

    def report(self) -> Response:
        """The page that the operator reads."""
        value: dict[str, Any] = {
            "serving": self.served and self.served.pipeline.revision,
            "rejected": self.rejected and self.rejected._asdict(),
        }
        if self.experiments:
            value["experiments"] = self.experiments.revisions
        return Response(200, orjson.dumps(value))

    @property
    def experiments(self) -> Experiments | None:
        """Those of what is served."""
        return self.served.pipeline.experiments if self.served else None
