# SPDX-License-Identifier: Apache-2.0
"""An experiment as the engine would run it, with the buckets that it has, or would begin with. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from endcap_api.experiment_config import (
    Assigned,
    ExperimentConfig,
    experiment_config,
)
from endcap_cli.experiment.known import full_ranges
from endcap_cli.experiment.source import Source

UNKNOWN = "000000000000"  # before it is in a cluster, an experiment has no identity


@dataclass(frozen=True)
class Configured:
    """`note` says how far this is from what is served."""

    config: ExperimentConfig
    note: str | None = None


def configured(source: Source, coverage: int | None = None) -> Configured:
    """`coverage` is another than the experiment has."""
    if source.served is not None and coverage is None:
        return Configured(source.served)
    ranges = full_ranges(source)
    percent = source.spec.full_coverage if coverage is None else coverage
    assigned = Assigned(id=UNKNOWN, revision=1, epoch=1, phase="Running", ranges=ranges, coverage=percent)
    config = experiment_config(source.name.name, source.spec, assigned)
    if source.served is not None:
        config = source.served.model_copy(update={"variants": config.variants, "everyone": None})
    return Configured(config, _note(source, percent))


def _note(source: Source, percent: float) -> str | None:
    if source.live is None or source.served is not None:
        return None
    phase = source.status.get("phase") or "not accepted"
    return (
        f"{source.name.name} is {phase}: graph {source.spec.graph} does not have it now, and everyone gets what "
        f"the graph says; this is how it would assign at {percent:g}%"
    )
