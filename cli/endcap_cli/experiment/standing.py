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
from endcap_operator.analysis.words import shown_percent, shown_value
from endcap_operator.plan.experiment.series import Band, Point

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
_VERDICT = re.compile(r"(\w+)(?: (.+))?")  # `Better treatment`


class Card(NamedTuple):
    """One thing that is healthy, is not, or cannot be told: True, False, None."""

    name: str
    healthy: bool | None
    message: str


@dataclass(frozen=True)
class Standing:
    """`status` is that of the object, as JSON has it. `holds` is why there is no verdict, where that is known.

    points: oldest first; `drawn` are those with bands of one kind, that of the newest.
    """

    name: Name
    spec: ExperimentSpec
    status: Mapping[str, Any]
    points: Sequence[Point] = field(default_factory=tuple)
    holds: str = ""

    @property
    def phase(self) -> str:
        return str(self.status.get("phase") or "Pending")

    @property
    def relative(self) -> bool:
        """Whether lifts are parts of the baseline's value; else they are in units of the metric."""
        newest = next((point for point in reversed(self.points) if point.bands), None)
        return newest is None or all(band.relative for band in newest.bands.values())

    @property
    def drawn(self) -> list[Point]:
        kept = (point.model_copy(update={"bands": dict(self._alike(point))}) for point in self.points)
        return [point for point in kept if point.bands]

    def _alike(self, point: Point) -> Iterator[tuple[str, Band]]:
        return ((name, band) for name, band in point.bands.items() if band.relative == self.relative)

    def shown(self, value: float) -> str:
        """`+1.8%`, or `+0.12` of the metric."""
        return shown_percent(value, signed=True) if self.relative else shown_value(value)

    @property
    def primary(self) -> Metric | None:
        return next((m for m in self.spec.metrics or () if m.name == self.spec.primary), None)

    @property
    def verdict(self) -> tuple[str, str]:
        """The word, and the variant or whatever else it names."""
        found = _VERDICT.fullmatch(str(self.status.get("verdict") or ""))
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
