# SPDX-License-Identifier: Apache-2.0
"""The order of decisions by which a unit gets its variant: once, for the engine that serves it and the command that
explains it. Expressions and secrets are the caller's: whether a unit is targeted, and what a header forces.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Literal, NamedTuple

from endcap_api.assignment import BUCKETS, Ranges, bucket, parse_ranges, size
from endcap_api.experiment_config import ExperimentConfig
from endcap_api.v1alpha1.experiment import Holdout, Layer

Reason = Literal[
    "disabled",
    "forced",
    "listed",
    "promoted",
    "no_unit",
    "held_out",
    "not_targeted",
    "other_layer",
    "not_covered",
    "assigned",
    "shadowed",
]
EXPOSED: frozenset[Reason] = frozenset({"forced", "listed", "held_out", "assigned"})
COUNTED: frozenset[Reason] = frozenset({"assigned"})
DECIDED: frozenset[Reason] = frozenset({"forced", "listed", "promoted", "assigned"})
_NOBODY = 255
_PER_PERCENT = BUCKETS // 100


class Unit(NamedTuple):
    """Who is assigned: its text, and the field of the request that it is from, e.g. `customer`."""

    text: str
    type: str


class Decided(NamedTuple):
    """`bucket` is that of the experiment's salt; None without a unit."""

    variant: str
    reason: Reason
    bucket: int | None


def unit_of(fields: Iterable[str], request: Mapping[str, object]) -> Unit | None:
    """The first of the fields (`request.customer`) that the request has and that is not empty; numbers in decimal."""
    for field in fields:
        name = field.removeprefix("request.")
        value = request.get(name)
        if value is not None and value != "":
            return Unit(str(value), name)
    return None


def layer_salt(layer: Layer) -> str:
    return f"layer/{layer.name}"


def holdout_salt(holdout: Holdout) -> str:
    return f"holdout/{holdout.name}"


def _always() -> bool:
    return True


class Assigner:
    """An experiment as it is asked: the buckets are laid out once, so that a decision is up to three hashes."""

    def __init__(self, config: ExperimentConfig) -> None:
        self.config = config
        self._names = tuple(variant.name for variant in config.variants)
        self._ranges = tuple(parse_ranges(variant.buckets) for variant in config.variants)
        self._baseline = config.baseline.name
        self._listed = config.overrides or {}
        self._shadow = config.mode == "shadow"
        self._owners = _owners(self._ranges)
        self._layer = _owners([parse_ranges(config.layer.buckets)]) if config.layer else None

    def decide(
        self, unit: Unit | None, *, forced: str | None = None, targeted: Callable[[], bool] = _always
    ) -> Decided:
        """`targeted` is called only where nothing before it decides."""
        number = bucket(self.config.salt, unit.text) if unit else None
        variant, reason = self._decided(unit, number, forced, targeted)
        return Decided(variant, reason, number)

    def _decided(
        self, unit: Unit | None, number: int | None, forced: str | None, targeted: Callable[[], bool]
    ) -> tuple[str, Reason]:
        if not self.config.enabled:
            return self._baseline, "disabled"
        if named := None if self._shadow else self._by_name(unit, forced):
            return named
        if unit is None or number is None:
            return self._baseline, "no_unit"
        if reason := self._out(unit, targeted):
            return self._baseline, reason
        owner = self._owners[number]
        if owner == _NOBODY:
            return self._baseline, "not_covered"
        return (self._baseline, "shadowed") if self._shadow else (self._names[owner], "assigned")

    def _by_name(self, unit: Unit | None, forced: str | None) -> tuple[str, Reason] | None:
        if forced in self._names:
            return forced, "forced"
        if unit and unit.text in self._listed:
            return self._listed[unit.text], "listed"
        return (self.config.everyone, "promoted") if self.config.everyone else None

    def _out(self, unit: Unit, targeted: Callable[[], bool]) -> Reason | None:
        """Why a unit takes no part, whatever its bucket is."""
        holdout, layer = self.config.holdout, self.config.layer
        if holdout and bucket(holdout_salt(holdout), unit.text) < holdout.percent * _PER_PERCENT:
            return "held_out"
        if not targeted():
            return "not_targeted"
        if layer and self._layer and self._layer[bucket(layer_salt(layer), unit.text)] == _NOBODY:
            return "other_layer"
        return None

    def propensity(self, variant: str) -> float:
        """Its covered buckets among those of all; 0 while none is covered."""
        covered = dict(zip(self._names, map(size, self._ranges), strict=True))
        return covered[variant] / (sum(covered.values()) or 1)


def _owners(ranges: Sequence[Ranges]) -> bytes:
    """For each bucket the place of who owns it."""
    owners = bytearray([_NOBODY]) * BUCKETS
    for place, owned in enumerate(ranges):
        for each in owned:
            owners[each.start : each.end] = bytes([place]) * each.size
    return bytes(owners)
