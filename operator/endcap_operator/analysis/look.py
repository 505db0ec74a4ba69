# SPDX-License-Identifier: Apache-2.0
"""One look at an experiment: all that its figures say at a moment, as JSON, so that the record can keep it."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from endcap_api.v1alpha1.base import Element

Kind = Literal["Better", "Worse", "Inconclusive", "Invalid", "GuardrailBreached"]
GuardrailState = Literal["ok", "breached", "no data"]
RatioState = Literal["ok", "mismatch", "no data"]


class Epoch(Element):
    """A time of constant ratio between weights.

    buckets: of each variant at full coverage. coverages: percents at which it was served. comparable: whether the
    units that were first exposed in it can be compared with each other (decision 0064).
    """

    buckets: dict[str, int]
    coverages: list[int] = Field(default_factory=list)
    comparable: bool = True

    def stages(self) -> list[dict[str, int]]:
        """The covered buckets of each variant, at each coverage that was served; at full coverage before the first."""
        coverages = [each for each in self.coverages if each] or [100]
        return [{name: -(-size * each // 100) for name, size in self.buckets.items()} for each in coverages]


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

    @property
    def above(self) -> bool:
        """Clearly more than the baseline."""
        return self.lower > 0

    @property
    def below(self) -> bool:
        return self.upper < 0


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
    """A guardrail in its worst variant. suspects: the variants that break it unless the next look finds otherwise."""

    name: str
    state: GuardrailState
    message: str
    variant: str | None = None
    suspects: list[str] = Field(default_factory=list)


class Verdict(Element):
    """variant: who is better, worse or has broken a guardrail."""

    kind: Kind
    message: str
    variant: str | None = None


class Look(Element):
    """at_ms: when the figures last changed. exposed: all units; `units`: those of epochs that can be compared.

    fresh: there are sums, and they are not old; `freshness` says why not. verdict: None is hold; `holds` says why.
    left_out: epochs that cannot be compared.
    """

    at_ms: int
    exposed: int = 0
    units: int = 0
    fresh: bool = False
    freshness: str = ""
    variants: dict[str, VariantFigures] = Field(default_factory=dict)
    sample_ratio: SampleRatio = SampleRatio(state="no data")
    guardrails: list[GuardrailFigures] = Field(default_factory=list)
    verdict: Verdict | None = None
    holds: str = ""
    left_out: list[str] = Field(default_factory=list)

    def suspects(self, guardrail: str) -> list[str]:
        return [name for each in self.guardrails if each.name == guardrail for name in each.suspects]

    @property
    def suspicion(self) -> str:
        """Which guardrail may be broken, and by whom; empty when none may."""
        found = (each for each in self.guardrails if each.suspects)
        said = (
            f"{each.name} may be broken by {', '.join(each.suspects)}: the next look decides"
            for each in found
        )
        return next(said, "")

    @property
    def breached(self) -> GuardrailFigures | None:
        return next((each for each in self.guardrails if each.state == "breached"), None)
