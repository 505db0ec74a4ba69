# SPDX-License-Identifier: Apache-2.0
"""A model as a step sees it: its failures are the step's failures, and each call is counted by its outcome."""

from __future__ import annotations

from asyncio import CancelledError
from collections.abc import Mapping
from dataclasses import dataclass
from time import monotonic
from typing import Any

from prometheus_client import Counter

from endcap_runtime.graph.failures import Kind, StepFailed
from endcap_runtime.graph.query import Query
from endcap_runtime.graph.upstream import Model, Prediction, UpstreamFailed

_TOO_LATE = 504
# A model is told its time in whole milliseconds, and its refusal takes a moment: so much before the end it is the end.
_NEAR_SECONDS = 0.05


@dataclass(frozen=True, slots=True)
class CalledModel:
    """`step` names who asks; `calls` counts by outcome."""

    step: str
    model: Model
    calls: Mapping[str, Counter]

    async def predict(self, columns: Mapping[str, Any], rows: int, query: Query) -> Prediction:
        """The model's outputs [rows]. Raises StepFailed."""
        start = monotonic()
        try:
            prediction = await self.model.predict(columns, rows, query.call)
        except UpstreamFailed as failed:
            kind = _kind(failed, query.call.deadline - monotonic())
            self.calls[kind].inc()
            seconds = query.call.deadline - start
            raise StepFailed(self.step, kind, _reason(kind, failed.message, seconds)) from None
        except CancelledError:
            self.calls["cancelled"].inc()
            raise
        self.calls["ok"].inc()
        return prediction


def _kind(failed: UpstreamFailed, left: float) -> Kind:
    """A model that says itself that the time is up has met the deadline that we gave it."""
    return "timeout" if failed.status == _TOO_LATE and left < _NEAR_SECONDS else failed.kind


def _reason(kind: Kind, message: str, seconds: float) -> str:
    if kind != "timeout":
        return message
    if seconds <= 0:
        return "no time was left"
    return f"timeout after {round(seconds * 1000)} ms"
