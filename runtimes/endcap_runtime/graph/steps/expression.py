# SPDX-License-Identifier: Apache-2.0
"""An expression that has no value for a request is a failure of the step that reads it."""

from __future__ import annotations

from dataclasses import dataclass
from types import TracebackType

from endcap_runtime.graph.expressions import ExpressionFailed, Unavailable
from endcap_runtime.graph.failures import StepFailed


@dataclass(frozen=True, slots=True)
class Reading:
    """Turns what an expression raises into StepFailed of `step`."""

    step: str

    def __enter__(self) -> None: ...

    def __exit__(
        self, _kind: type[BaseException] | None, error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        if isinstance(error, Unavailable):
            reason = f"reads {error.step}, which did not answer"
            raise StepFailed(self.step, "unavailable", reason) from None
        if isinstance(error, ExpressionFailed):
            raise StepFailed(self.step, "expression", str(error)) from None
