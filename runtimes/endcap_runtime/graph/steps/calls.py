# SPDX-License-Identifier: Apache-2.0
"""A model as a step sees it: its failures are the step's failures, and each call is counted by its outcome."""

from __future__ import annotations

from asyncio import CancelledError
from collections.abc import Mapping
from dataclasses import dataclass
from time import monotonic
from typing import Any

from prometheus_client import Counter

from endcap_runtime.graph.failures import StepFailed
from endcap_runtime.graph.query import Query
from endcap_runtime.graph.upstream import Model, Prediction, UpstreamFailed


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
            self.calls[failed.kind].inc()
            raise StepFailed(self.step, failed.kind, _reason(failed, query.call.deadline - start)) from None
        except CancelledError:
            self.calls["cancelled"].inc()
            raise
        self.calls["ok"].inc()
        return prediction


def _reason(failed: UpstreamFailed, seconds: float) -> str:
    if failed.kind != "timeout":
        return failed.message
    if seconds <= 0:
        return "no time was left"
    return f"timeout after {round(seconds * 1000)} ms"
