# SPDX-License-Identifier: Apache-2.0
"""How an experiment stands, as screen and page show it: what its status says, in words, and its figures over time.
Pure.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from endcap_api.v1alpha1.experiment import ExperimentSpec
from endcap_api.v1alpha1.measurement import Metric
from endcap_cli.workspace import Name

FINAL = ("Promoted", "RolledBack", "Aborted", "Ended")
BAD = ("RolledBack", "Aborted")
CONDITIONS: Mapping[str, str] = {
    "Accepted": "accepted",
    "VariantsReady": "variants",
    "RouterSynced": "router",
    "SampleRatioHealthy": "sample ratio",
    "MetricsFresh": "metrics",
    "GuardrailsHealthy": "guardrails",
    "VariantDrift": "drift",
}
_VERDICT = re.compile(r"(\w+)(?:[ :(]+(.*?)\)?)?$")


class Interval(NamedTuple):
    """A lift and its confidence sequence, relative to the baseline: 0.018 is +1.8%."""

    lift: float
    lower: float
    upper: float


@dataclass(frozen=True)
class Point:
    """What one look found. coverage: percent. log_bayes: natural logarithm of the sample ratio's Bayes factor.
    lifts: of the primary metric, by treatment.
    """

    at_ms: int
    units: int
    coverage: float
    log_bayes: float | None
    lifts: Mapping[str, Interval]


class Card(NamedTuple):
    """One thing that is healthy, is not, or cannot be told: True, False, None."""

    name: str
    healthy: bool | None
    message: str


@dataclass(frozen=True)
class Standing:
    """`status` is that of the object, as JSON has it. `holds` is why there is no verdict, where that is known."""

    name: Name
    spec: ExperimentSpec
    status: Mapping[str, Any]
    points: Sequence[Point] = field(default_factory=tuple)
    holds: str = ""

    @property
    def phase(self) -> str:
        return str(self.status.get("phase") or "Pending")

    @property
    def primary(self) -> Metric | None:
        return next((m for m in self.spec.metrics or () if m.name == self.spec.primary), None)

    @property
    def verdict(self) -> tuple[str, str]:
        """The word, and the variant or whatever else it names."""
        found = _VERDICT.match(str(self.status.get("verdict") or ""))
        return (found[1], found[2] or "") if found else ("", "")

    @property
    def variants(self) -> list[Mapping[str, Any]]:
        """Of the status; before there is one, their names."""
        known = self.status.get("variants")
        return list(known) if known else [{"name": variant.name} for variant in self.spec.variants]

    def condition(self, kind: str) -> Mapping[str, Any]:
        found = self.status.get("conditions") or ()
        return next((one for one in found if one["type"] == kind), {})

    @property
    def cards(self) -> Iterator[Card]:
        for kind, name in CONDITIONS.items():
            if found := self.condition(kind):
                healthy = {"True": True, "False": False}.get(found["status"])
                bad_when_true = kind == "VariantDrift"
                yield Card(name, not healthy if bad_when_true else healthy, _said(found))

    @property
    def ended(self) -> bool:
        return self.phase in FINAL

    @property
    def mismatch(self) -> bool:
        """For good: there will be no verdict."""
        return self.condition("SampleRatioHealthy").get("status") == "False"


def _said(condition: Mapping[str, Any]) -> str:
    return str(condition.get("message") or condition.get("reason") or "")


def percent(share: float) -> str:
    """`+1.8%`"""
    return f"{100 * share:+.1f}%"
