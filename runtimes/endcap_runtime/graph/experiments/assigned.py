# SPDX-License-Identifier: Apache-2.0
"""What an experiment said of one request, and what came of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from endcap_api.assigner import Reason
from endcap_api.experiment_config import ExperimentConfig


@dataclass(slots=True)
class Assigned:
    """Made before the first step; the step itself says what it served.

    baseline: name of that variant. propensity: of the variant when chance decided, else 1. does: whether this
    experiment does the step; of those on one step at most one. served: the variant that gave the step's result; None
    where it gave none, or was not reached. failure: why the variant did not serve, or why the step failed altogether.
    """

    name: str
    config: ExperimentConfig
    baseline: str
    variant: str
    reason: Reason
    unit: str | None
    unit_type: str | None
    bucket: int | None
    propensity: float
    does: bool
    served: str | None = None
    failure: str | None = None


Assignments = Mapping[str, Assigned]
NOT_IN_ANY: Assignments = MappingProxyType({})
