# SPDX-License-Identifier: Apache-2.0
"""What the operator has decided and found out of an experiment, as it keeps it in the cluster."""

from __future__ import annotations

from endcap_api.assignment import Ranges, allocate, parse_ranges, quotas
from endcap_api.experiment_config import experiment_id, given_ranges, weights_of
from endcap_cli.experiment.source import Source
from endcap_cli.experiment.standing import Standing
from endcap_operator.manifests.configuration import RECORD, SERIES
from endcap_operator.plan.experiment.record import Record, read_record
from endcap_operator.plan.experiment.series import read_series


def record_of(source: Source) -> Record | None:
    """None before the operator has seen it, and for one of files."""
    if source.live is None:
        return None
    return read_record(source.data.get(RECORD), experiment_id(source.live["metadata"]["uid"]))


def standing_of(source: Source) -> Standing:
    record = record_of(source)
    holds = record.look.holds if record and record.look and record.verdict is None else ""
    points = read_series(source.data.get(SERIES)).points
    return Standing(source.name, source.spec, source.status, tuple(points), holds)


def coverage_of(source: Source) -> float:
    """Percent of the units that take part, as far as nothing else keeps them out."""
    record = record_of(source)
    return record.coverage if record else source.spec.full_coverage


def full_ranges(source: Source) -> dict[str, Ranges]:
    """Of each variant at full coverage: as decided, else as its status says, else as it would begin:
    what the spec gives, or new ones by its weights.
    """
    if record := record_of(source):
        return record.allotted
    known = {
        one["name"]: parse_ranges(one.get("buckets") or ()) for one in source.status.get("variants") or ()
    }
    if any(known.values()) and known.keys() == {variant.name for variant in source.spec.variants}:
        return known
    return given_ranges(source.spec) or allocate(quotas(weights_of(source.spec)))
