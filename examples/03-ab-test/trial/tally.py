# SPDX-License-Identifier: Apache-2.0
"""What the replay saw with its own eyes, variant by variant: beside it the operator's verdict can be checked."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from trial.outcomes import ADDED, Event, Visit


@dataclass
class Variant:
    """`instead`: visits that another variant served, because this one could not."""

    households: set[str] = field(default_factory=set)
    visits: int = 0
    added: int = 0
    instead: int = 0


@dataclass
class Tally:
    """Visits by the variant that was assigned, and households that ever were in two."""

    experiment: str
    answers: int = 0
    events: int = 0
    degraded: int = 0
    failed: list[str] = field(default_factory=list)
    outside: int = 0
    variants: dict[str, Variant] = field(default_factory=lambda: defaultdict(Variant))
    _first: dict[str, str] = field(default_factory=dict)
    switched: set[str] = field(default_factory=set)

    def count(self, visit: Visit, answer: Mapping[str, Any], events: Sequence[Event]) -> None:
        self.answers += 1
        self.events += len(events)
        self.degraded += bool(answer["degraded"])
        told = answer.get("experiments", {}).get(self.experiment)
        if told is None or told["reason"] != "assigned":
            self.outside += 1
            return
        variant = self.variants[told["variant"]]
        variant.households.add(visit.household)
        variant.visits += 1
        variant.added += sum(event["type"] == ADDED for event in events)
        variant.instead += "served" in told
        if self._first.setdefault(visit.household, told["variant"]) != told["variant"]:
            self.switched.add(visit.household)

    def progress(self) -> str:
        return f"{self.answers:,} answers, {self.events:,} events, {len(self.failed)} failed"

    def table(self) -> str:
        """A line a variant, then what else there was."""
        lines = [f"{'variant':12}{'households':>12}{'visits':>9}{'added':>9}{'a visit':>9}"]
        lines += [
            f"{name:12}{len(one.households):12,}{one.visits:9,}{one.added:9,}{one.added / max(one.visits, 1):9.3f}"
            for name, one in sorted(self.variants.items())
        ]
        lines.append(f"{self.progress()}; {self.outside:,} not in the experiment, {self.degraded:,} degraded")
        lines.append(f"{len(self.switched)} households changed variant")
        return "\n".join(lines)
