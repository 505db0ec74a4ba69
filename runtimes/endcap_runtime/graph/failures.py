# SPDX-License-Identifier: Apache-2.0
"""The ways in which a graph fails, by remedy: the author's, the moment's, or the caller's to retry."""

from __future__ import annotations

from typing import Literal

from endcap_runtime.graph.upstream.failures import Kind as UpstreamKind

Kind = UpstreamKind | Literal["expression", "unavailable", "empty", "stale"]


class InvalidSpec(Exception):
    """The graph cannot run as it is written; the message names the field and the remedy."""


class StepFailed(Exception):
    """A step has no result for this request; what that means is the step's onError."""

    def __init__(self, step: str, kind: Kind, reason: str) -> None:
        super().__init__(f"{step}: {reason}")
        self.step = step
        self.kind: Kind = kind
        self.reason = reason


class NoAnswer(Exception):
    """Neither the steps nor a fallback could answer; `failures` are (step, reason), first cause first."""

    def __init__(self, failures: list[tuple[str, str]]) -> None:
        super().__init__("; ".join(f"{step}: {reason}" for step, reason in failures))
        self.failures = failures
