# SPDX-License-Identifier: Apache-2.0
"""What has been decided about an experiment: the authority from which its status and its graph's overlay are derived."""

from __future__ import annotations

from pydantic import Field

from endcap_api.v1alpha1.base import Element
from endcap_api.v1alpha1.experiment import ExperimentSpec
from endcap_api.v1alpha1.status import ExperimentStatus, Phase
from endcap_operator.analysis.look import Look, Verdict


class Pin(Element):
    """The artefact that a variant began with. model: the ModelDeployment; label: as in `basket-ranker-v2@2`."""

    model: str
    label: str
    sha256: str


class Epoch(Element):
    """A time of constant ratio between weights.

    buckets: those that were covered at the highest `coverage` (percent), by variant. comparable: whether the units
    that were first exposed in it can be compared with each other (decision 0064).
    """

    buckets: dict[str, int]
    coverage: int
    comparable: bool = True


class Entry(Element):
    """One transition: the phase that began (or went on), and why, with the figures."""

    time_ms: int
    phase: Phase
    message: str


class Record(Element):
    """record.json.

    revision: counts whatever the graph is told of the experiment. epochs: by number, the last is the one that runs.
    coverage: percent that takes part (as it will again, while Paused). ranges: of each variant at full coverage, as
    texts in order. weights: those that the ranges were made for. pins: by variant. began: digests of what may not
    change since, by field. paused: the phase to which `enabled: true` leads back. everyone: the variant that every
    unit gets. mismatch, spoilt: why there is no verdict, and which guardrail was broken; for ever. history: newest
    last.
    """

    id: str
    algorithm: str
    revision: int = Field(ge=1)
    epoch: int = Field(ge=1)
    phase: Phase
    since_ms: int
    coverage: int = Field(ge=0, le=100)
    coverage_since_ms: int
    ranges: dict[str, list[str]]
    weights: dict[str, int]
    told: str
    epochs: dict[str, Epoch] = Field(default_factory=dict)
    pins: dict[str, Pin] = Field(default_factory=dict)
    began: dict[str, str] | None = None
    paused: Phase | None = None
    everyone: str | None = None
    verdict: Verdict | None = None
    mismatch: str | None = None
    spoilt: str | None = None
    history: list[Entry] = Field(default_factory=list, max_length=32)
    look: Look | None = None


def read_record(text: str | None, identity: str) -> Record | None:
    """The record of the experiment whose id is `identity`; None when it is gone, spoilt, or of an earlier namesake."""
    raise NotImplementedError


def recovered(
    name: str, spec: ExperimentSpec, identity: str, status: ExperimentStatus | None, now_ms: int
) -> Record:
    """The record made again: from the status, else from `variants[].buckets`, else from the weights."""
    raise NotImplementedError
