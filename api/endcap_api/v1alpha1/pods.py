# SPDX-License-Identifier: Apache-2.0
"""The few knobs of a pod that a user may turn; everything else is the platform's."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field, StringConstraints

from endcap_api.v1alpha1.base import Element, Rule, Spelling

Cpu = Annotated[
    str,
    StringConstraints(max_length=16),
    Spelling(
        "^[1-9][0-9]*m?$", 'CPU is a text of whole cores or thousandths of one: write it as "1" or 250m'
    ),
]
Memory = Annotated[
    str,
    StringConstraints(max_length=16),
    Spelling("^[1-9][0-9]*(Ki|Mi|Gi)$", "memory is a whole number with Ki, Mi or Gi: write it as 512Mi"),
]


class ScaleTarget(Element):
    """What the autoscaler aims at."""

    cpu: int = Field(
        default=70, ge=10, le=95, description="Mean CPU use of the pods, in percent of their request."
    )


class Replicas(Element):
    """How many pods serve. With max above min a HorizontalPodAutoscaler decides."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule("!has(self.max) || self.max >= self.min", "max is below min: raise max or lower min"),
        Rule(
            "!has(self.target) || (has(self.max) && self.max > self.min)",
            "target needs a max above min: set max, or remove target",
        ),
    )

    min: int = Field(default=1, ge=1, le=100, description="Fewest pods.")
    max: int | None = Field(
        default=None, ge=1, le=100, description="Most pods; equal to min when it is not set."
    )
    target: ScaleTarget | None = Field(
        default=None, description="What the autoscaler aims at; CPU at 70 % by default."
    )


class Resources(Element):
    """Request and limit of memory, request of CPU, for each pod."""

    cpu: Cpu = Field(default="100m", description="CPU that is requested, e.g. 250m or 1.")
    memory: Memory = Field(
        default="512Mi", description="Memory that is requested, and the limit, e.g. 512Mi."
    )
