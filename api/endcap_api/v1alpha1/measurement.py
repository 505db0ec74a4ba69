# SPDX-License-Identifier: Apache-2.0
"""What an experiment measures: outcomes, metrics, guardrails, and how they become a verdict."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field, StringConstraints

from endcap_api.v1alpha1.base import Element, Identifier, Name, Rule, Span, Text, keyed_by_identifiers
from endcap_api.v1alpha1.featureview import EventType
from endcap_api.v1alpha1.steps import Expression

Direction = Literal["increase", "decrease"]
Serving = Literal["p95Latency", "errorRate", "degradedRate"]


class Event(Element):
    """Outcomes of one kind: CloudEvents, as features take them."""

    rules: ClassVar[tuple[Rule, ...]] = (keyed_by_identifiers("where"),)

    event: EventType = Field(description="Type of the events, e.g. add_to_cart.")
    where: (
        Annotated[dict[Identifier, Annotated[str, StringConstraints(max_length=128)]], Field(max_length=8)]
        | None
    ) = Field(default=None, description="Only events whose data has these texts, e.g. {channel: web}.")
    field: Identifier | None = Field(
        default=None, description="Field of the event's data that is summed; without one events are counted."
    )


class Metric(Event):
    """What is compared: one value for each unit, from its outcomes after it was first exposed."""

    rules: ClassVar[tuple[Rule, ...]] = (
        keyed_by_identifiers("where"),
        Rule(
            "!has(self.field) || self.field != self.unit",
            "field is the unit, whose sum means nothing: name the field that holds the value, or remove field",
        ),
        Rule(
            "!has(self.conversion) || !self.conversion || (!has(self.field) && !has(self.per))",
            "a conversion is whether there was an event: remove field and per, or remove conversion",
        ),
        Rule(
            "!has(self.covariate) || !has(self.per)",
            "covariate goes with means, not with ratios: remove covariate or per",
        ),
    )

    name: Name = Field(description="Name of the metric.")
    description: Text | None = Field(default=None, description="What it means, for a person.")
    unit: Identifier = Field(description="Field of the events' data that holds the unit.")
    conversion: bool = Field(
        default=False, description="Whether the unit had such an event at all, in place of how many."
    )
    per: Event | None = Field(
        default=None,
        description="Makes it a ratio: the sum over all units divided by the sum of these, e.g. revenue per order.",
    )
    goal: Direction = Field(default="increase", description="increase or decrease: what is better.")
    window: Span = Field(
        default="168h", description="How long after its first exposure the outcomes of a unit count."
    )
    covariate: Expression | None = Field(
        default=None,
        description="CEL number that is known before a unit is first exposed and explains much of the metric, e.g. "
        "household.purchases_24h of a features step; takes noise away (CUPED).",
    )


class Guardrail(Element):
    """A limit that a variant may not break; one that does goes, and everyone gets the baseline."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "has(self.metric) != has(self.serving)",
            "a guardrail is exactly one of metric and serving: name one",
        ),
    )

    metric: Name | None = Field(default=None, description="One of the metrics.")
    serving: Serving | None = Field(
        default=None,
        description="p95Latency (of whole requests), errorRate (requests for which the variant failed or that had no "
        "answer) or degradedRate (answers that had to do without a step).",
    )
    limit: float = Field(
        ge=0,
        le=1000,
        description="How much worse than the baseline is too much: percent of it for a metric and p95Latency, "
        "percentage points for the rates.",
    )


class Analysis(Element):
    """How the verdict is found."""

    # Not minimum and maximum: where a whole number is given, the API server compares with what they are cut to, 0.
    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "self.alpha >= 0.0001 && self.alpha <= 0.2",
            "alpha is a probability of 0.0001 to 0.2: write it as 0.05",
        ),
        Rule(
            "!has(self.maximumUnits) || self.minimumUnits < self.maximumUnits",
            "the end comes before the first verdict: raise maximumUnits above minimumUnits",
        ),
    )

    alpha: float = Field(
        default=0.05,
        description="Largest probability of a false win, however often one looks.",
    )
    interval: Span = Field(default="30s", description="How often the figures are looked at.")
    minimum_units: int = Field(
        default=1000, ge=10, le=1_000_000_000, description="Units before which there is no verdict."
    )
    maximum_units: int | None = Field(
        default=None,
        ge=10,
        le=1_000_000_000,
        description="Units at which the experiment ends without a winner.",
    )
    minimum_requests: int = Field(
        default=100,
        ge=10,
        le=1_000_000,
        description="Requests of a variant in the last minute before which serving says nothing.",
    )
