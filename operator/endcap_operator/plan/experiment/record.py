# SPDX-License-Identifier: Apache-2.0
"""What has been decided about an experiment: its status and its overlay of a graph are derived from it."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import Field

from endcap_api.assignment import ALGORITHM, BUCKETS, Ranges, parse_ranges
from endcap_api.experiment_config import Assigned
from endcap_api.v1alpha1.base import Element
from endcap_api.v1alpha1.status import Phase
from endcap_operator.analysis.look import Epoch, Look, Verdict

ROUTED: frozenset[Phase] = frozenset({"Ramping", "Running", "Paused", "AwaitingApproval", "Promoting"})
FINAL: frozenset[Phase] = frozenset({"Promoted", "RolledBack", "Aborted", "Ended"})
MOST_ENTRIES = 32


class Pin(Element):
    """The artefact that a variant began with. model: the ModelDeployment; label: as in `basket-ranker-v2@2`."""

    model: str
    label: str
    sha256: str


class Entry(Element):
    """One transition: the phase that began (or went on), and why, with the figures."""

    time_ms: int
    phase: Phase
    message: str


class Record(Element):
    """record.json.

    id: of the experiment, see `experiment_id`. salt, algorithm: what assignment depends on. revision: counts whatever
    the graph is told of it. epochs: by number, the last is the one that runs. since_ms: of the phase. coverage:
    percent that takes part (as it will again, while Paused). ranges: of each variant at full coverage, as texts in
    order. weights: those that the ranges were made for. told: digest of what the graph is told straight from the spec.
    pins: by variant. began: digests of what may not change since, by field; None before. paused: the phase to which
    `enabled: true` leads back. everyone: the variant that every unit gets. mismatch, spoilt: why there is no verdict,
    and which guardrail was broken; for ever. history: newest last.
    """

    id: str
    algorithm: str = ALGORITHM
    salt: str
    revision: int = Field(ge=1)
    epoch: int = Field(ge=1)
    phase: Phase
    since_ms: int
    coverage: int = Field(ge=0, le=100)
    coverage_since_ms: int
    ranges: dict[str, list[str]]
    weights: dict[str, int]
    told: str = ""
    epochs: dict[str, Epoch] = Field(default_factory=dict)
    pins: dict[str, Pin] = Field(default_factory=dict)
    began: dict[str, str] | None = None
    paused: Phase | None = None
    everyone: str | None = None
    verdict: Verdict | None = None
    mismatch: str | None = None
    spoilt: str | None = None
    history: list[Entry] = Field(default_factory=list, max_length=MOST_ENTRIES)
    look: Look | None = None

    @property
    def allotted(self) -> dict[str, Ranges]:
        """The ranges as such."""
        return {name: parse_ranges(texts) for name, texts in self.ranges.items()}

    @property
    def routed(self) -> bool:
        """Whether the graph is told of it."""
        return self.phase in ROUTED

    @property
    def final(self) -> bool:
        return self.phase in FINAL

    @property
    def pinned(self) -> bool:
        """Whether the ModelDeployments of its pins keep what they serve."""
        return self.began is not None and not self.final

    def drifted(self, live: Mapping[str, Pin]) -> dict[str, Pin]:
        """The variants whose model is now to be another than the one that was pinned, with that one."""
        pairs = ((name, pin, live.get(name)) for name, pin in self.pins.items())
        return {
            name: now
            for name, pin, now in pairs
            if now and (now.model, now.sha256) != (pin.model, pin.sha256)
        }


def read_record(text: str | None, identity: str) -> Record | None:
    """The record of the experiment whose id is `identity`; None when it is gone, spoilt, or of an earlier namesake."""
    if text is None:
        return None
    try:
        found = Record.model_validate_json(text)
        whole = is_partition(found.allotted)
    except ValueError:
        return None
    counted = found.began is None or str(found.epoch) in found.epochs
    return found if found.id == identity and whole and counted else None


def is_partition(ranges: Mapping[str, Ranges]) -> bool:
    """Whether every bucket has exactly one owner."""
    every = sorted(each for owned in ranges.values() for each in owned)
    ends = [0, *(each.end for each in every)]
    return ends[-1] == BUCKETS and all(each.start == end for each, end in zip(every, ends, strict=False))


def text_of(record: Record) -> str:
    """The JSON of record.json: the same record has the same text."""
    return record.model_dump_json(by_alias=True, exclude_none=True)


def assigned_of(record: Record, exposures: str | None) -> Assigned | None:
    """What the graph has to know beside the spec; None when it is not told of the experiment. `exposures`: a URL."""
    if not record.routed:
        return None
    return Assigned(
        id=record.id,
        revision=record.revision,
        epoch=record.epoch,
        phase=record.phase,
        ranges=record.allotted,
        coverage=record.coverage,
        everyone=record.everyone,
        exposures=exposures,
        digests={name: pin.sha256 for name, pin in record.pins.items()},
    )
