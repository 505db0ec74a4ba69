# SPDX-License-Identifier: Apache-2.0
"""One look at an experiment: all that its figures say at a moment, as JSON, so that the record can keep it."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from endcap_api.v1alpha1.base import Element

Kind = Literal["Better", "Worse", "Inconclusive", "Invalid", "GuardrailBreached"]
GuardrailState = Literal["ok", "breached", "no data"]
RatioState = Literal["ok", "mismatch", "no data"]


class Lift(Element):
    """A metric in a treatment less that in the baseline, with its confidence sequence.

    difference, lower, upper: in units of the metric. relative: the same as parts of the baseline's value (0.018 is
    +1.8 %), with bounds; None where the baseline is not clearly away from 0.
    """

    difference: float
    lower: float
    upper: float
    relative: float | None = None
    relative_lower: float | None = None
    relative_upper: float | None = None


class ShadowFigures(Element):
    """Means over the compared requests of the last minute. p95_ms: of the shadow's own calls."""

    compared: int
    overlap: float
    correlation: float
    p95_ms: float | None = None
    errors: int = 0
    dropped: int = 0


class VariantFigures(Element):
    """units: all that count. fallback, crossed: how many of them. lifts: by metric, of a treatment alone; a metric
    that has no figure (yet) is not in it.
    """

    units: int = 0
    fallback: int = 0
    crossed: int = 0
    lifts: dict[str, Lift] = Field(default_factory=dict)
    shadow: ShadowFigures | None = None


class SampleRatio(Element):
    """log_bayes_factor: natural logarithm of the evidence against the weights; a mismatch is above ln 1000."""

    state: RatioState
    log_bayes_factor: float = 0.0


class GuardrailFigures(Element):
    """A guardrail in its worst variant."""

    name: str
    state: GuardrailState
    message: str
    variant: str | None = None


class Verdict(Element):
    """variant: who is better, worse or has broken a guardrail."""

    kind: Kind
    message: str
    variant: str | None = None


class Look(Element):
    """at_ms: when the figures last changed. fresh: there are sums, and they are not old; `freshness` says why not.

    verdict: None is hold; `holds` says why. epochs_left_out: those whose units cannot be compared (decision 0064).
    """

    at_ms: int
    units: int = 0
    fresh: bool = False
    freshness: str = ""
    variants: dict[str, VariantFigures] = Field(default_factory=dict)
    sample_ratio: SampleRatio = SampleRatio(state="no data")
    guardrails: list[GuardrailFigures] = Field(default_factory=list)
    verdict: Verdict | None = None
    holds: str = ""
    epochs_left_out: list[str] = Field(default_factory=list)
