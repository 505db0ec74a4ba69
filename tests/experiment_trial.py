# SPDX-License-Identifier: Apache-2.0
"""An experiment under way, one plan of the operator after the other, without a cluster."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from measured_experiments import ID, NOW, converted, counted, experiment, page

from endcap_api.experiment_config import ExperimentSums, VariantServing, VariantSums
from endcap_api.v1alpha1.experiment import ExperimentSpec
from endcap_operator.analysis.looking import Seen, look_at
from endcap_operator.plan.experiment.course import Advanced, Facts, advance
from endcap_operator.plan.experiment.record import Pin, Record

MINUTE = 60_000
PIN = Pin(model="basket-ranker-v2", label="basket-ranker-v2@2", sha256="2" * 64)
OTHER = Pin(model="basket-ranker-v2", label="basket-ranker-v2@3", sha256="3" * 64)
FACTS = Facts("ranker-v2", ID, pins={"treatment": PIN}, synced=True, named=frozenset({"control"}))
RAMP = {
    "steps": [
        {"coverage": 5, "hold": "10m", "minimumUnits": 500},
        {"coverage": 50, "approval": True},
        {"coverage": 100},
    ]
}


def arms(control: int = 500, treatment: int = 500, units: int = 5000) -> dict[str, VariantSums]:
    return {"control": converted(units, control), "treatment": converted(units, treatment)}


@dataclass
class Trial:
    """An experiment under way; each call is one plan of the operator."""

    spec: ExperimentSpec = field(default_factory=experiment)
    facts: Facts = FACTS
    record: Record | None = None
    now: int = NOW

    def changed(self, **changes: Any) -> Trial:
        said = {**self.spec.dump(), **changes}
        self.spec = ExperimentSpec.model_validate({k: v for k, v in said.items() if v is not None})
        return self

    def step(
        self, sums: dict[str, VariantSums] | ExperimentSums | None = None, *pages: Any, minutes: float = 1
    ) -> Advanced:
        self.now += round(minutes * MINUTE)
        told = counted(**sums) if isinstance(sums, dict) else sums
        if told is not None:
            told = told.model_copy(update={"at_ms": told.at_ms + self.now - NOW})
        look = None
        if (told is not None or pages) and self.record is not None:
            look = look_at(self.spec, self.record.epochs, Seen(told, pages, self.record.look), self.now)
        found = advance(self.spec, self.record, self.facts, look, self.now)
        self.record = found.record
        return found

    def until(self, phase: str, sums: dict[str, VariantSums] | None = None, *pages: Any) -> Trial:
        for _ in range(12):
            if self.step(sums, *pages).record.phase == phase:
                return self
        raise AssertionError(f"{self.record and self.record.phase} is never {phase}")

    @property
    def known(self) -> Record:
        assert self.record is not None
        return self.record


def running(**changes: Any) -> Trial:
    return Trial(experiment(**changes)).until("Running")


def ranges(trial: Trial) -> dict[str, list[str]]:
    return dict(trial.known.ranges)


MISMATCHED = {"control": converted(9000, 900), "treatment": converted(5000, 750)}


def failing(errors: int = 90) -> Any:
    return page(control=VariantServing(requests=900), treatment=VariantServing(requests=900, errors=errors))
