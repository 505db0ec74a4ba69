# SPDX-License-Identifier: Apache-2.0
"""Experiment: an overlay of one step of a graph, for an A/B test, a canary or a shadow."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field, StringConstraints

from endcap_api.v1alpha1.base import (
    Element,
    Name,
    Rule,
    Span,
    Spelling,
    Text,
    keyed_by_identifiers,
)
from endcap_api.v1alpha1.experimentrules import RAMP_RULES, SPEC_RULES, VARIANT_RULES
from endcap_api.v1alpha1.measurement import Analysis, Guardrail, Metric
from endcap_api.v1alpha1.steps import Expression, Inputs

Mode = Literal["split", "shadow"]
OnWin = Literal["promote", "requireApproval", "nothing"]
Promotion = Literal["recommend", "patch"]
UnitField = Annotated[
    str,
    StringConstraints(max_length=80),
    Spelling("^request[.][a-z][a-z0-9_]*$", "a unit is a field of the request: write it as request.customer"),
]
BucketRange = Annotated[
    str,
    StringConstraints(max_length=11),
    Spelling(
        "^(0|[1-9][0-9]{0,3})-([1-9][0-9]{0,3}|10000)$",
        "a range of buckets is from-to of 0 to 10000, to not included: write it as 0-5000",
    ),
]
Salt = Annotated[
    str,
    StringConstraints(min_length=1, max_length=128),
    Spelling("^[^|]+$", "a salt has no vertical bar, which parts it from the unit: remove it"),
]
HoldoutName = Annotated[
    str,
    StringConstraints(max_length=40),
    Spelling(
        "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$",
        "a holdout's name is lower-case letters, digits and -, no - first or last: rename it",
    ),
]


class Variant(Element):
    """One way to do the step."""

    rules: ClassVar[tuple[Rule, ...]] = (*VARIANT_RULES, keyed_by_identifiers("inputs"))

    name: Name = Field(description="Name of the variant: in answers, logs and metrics.")
    baseline: bool = Field(
        default=False, description="The step as the graph has it, which the others are compared with."
    )
    weight: int | None = Field(
        default=None,
        ge=0,
        le=10000,
        description="Share of the units, relative to the weights of the others; its buckets are exact.",
    )
    model: Name | None = Field(
        default=None, description="A ModelDeployment of this namespace in place of the step's model."
    )
    by: Expression | None = Field(
        default=None, description="For a rank: CEL number in place of what the step ranks by."
    )
    inputs: Inputs | None = Field(
        default=None,
        description="CEL expression for each input of the model; the step's own when it is not set.",
    )
    buckets: list[BucketRange] | None = Field(
        default=None,
        max_length=256,
        description="Exact buckets in place of those that the weight would give, in order; as endcap experiment export "
        "prints them, so that who creates the Experiment again reshuffles nobody; [] for a weight of 0.",
    )


class Layer(Element):
    """A room that experiments share without meeting: each unit is in at most one of them."""

    name: Name = Field(description="Name of the layer.")
    buckets: list[BucketRange] = Field(
        min_length=1,
        max_length=64,
        description='The part of the layer that is this experiment\'s, e.g. ["0-5000"]; no other of the layer has it.',
    )


class Holdout(Element):
    """Units that are in no experiment that names the holdout: the measure of them all together."""

    name: HoldoutName = Field(description="Name of the holdout, e.g. 2026q4.")
    percent: int = Field(ge=1, le=50, description="Percent of all units that are held out.")


class RampStep(Element):
    """One step up."""

    coverage: int = Field(ge=1, le=100, description="Percent of the units that are in the experiment.")
    hold: Span | None = Field(default=None, description="Shortest time at this coverage.")
    minimum_units: int | None = Field(
        default=None, ge=1, le=1_000_000_000, description="Fewest units that were exposed before it goes on."
    )
    approval: bool = Field(
        default=False, description="Waits before it goes on until ramp.approved is at least this coverage."
    )


class Ramp(Element):
    """Coverage that rises step by step while nothing is amiss, at a constant ratio of the variants."""

    rules: ClassVar[tuple[Rule, ...]] = RAMP_RULES

    steps: list[RampStep] = Field(
        min_length=1,
        max_length=16,
        description="The steps, lowest coverage first; the last one's is kept when the ramp is over.",
    )
    approved: int | None = Field(
        default=None, ge=1, le=100, description="Steps up to this coverage are approved by a person."
    )


class Overrides(Element):
    """Units that get a variant by name; they are served and not counted."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "self.units.all(u, u.size() >= 1 && u.size() <= 128)",
            "a unit in overrides.units has 1 to 128 characters: correct it",
        ),
    )

    units: Annotated[
        dict[Annotated[str, StringConstraints(max_length=128)], Name], Field(min_length=1, max_length=256)
    ] = Field(description='Variant by unit, e.g. {"1467": treatment}.')


class Decision(Element):
    """What a person decides; it ends the experiment."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "has(self.promote) != has(self.abort)", "decision is exactly one of promote and abort: name one"
        ),
    )

    promote: Name | None = Field(default=None, description="The variant that everyone gets from now on.")
    abort: Text | None = Field(
        default=None, description="Why the experiment ends; everyone gets the baseline."
    )


class ExperimentSpec(Element):
    """An overlay of one step: units, variants, who takes part, what is measured and what follows."""

    rules: ClassVar[tuple[Rule, ...]] = SPEC_RULES

    description: Text | None = Field(default=None, description="What is tried, and what is hoped for.")
    graph: Name = Field(description="An InferenceGraph of this namespace.")
    step: Name = Field(description="The step that is overlaid: a rank, a recall of a model, or a model step.")
    mode: Mode = Field(
        default="split",
        description="split: each unit gets one variant. shadow: everyone gets the baseline, and the others are asked "
        "beside it and compared.",
    )
    enabled: bool = Field(
        default=True,
        description="false: everyone gets the baseline, and nothing is counted; nobody is reshuffled.",
    )
    unit: list[UnitField] = Field(
        min_length=1,
        max_length=4,
        description="Who is assigned, as fields of the request: the first that is not empty.",
    )
    salt: Salt | None = Field(
        default=None, description="What assignment depends on; <graph>.<step>.<name> when it is not set."
    )
    variants: list[Variant] = Field(min_length=2, max_length=8, description="The variants.")
    coverage: int | None = Field(
        default=None, ge=0, le=100, description="Percent of the units that take part; 100 when it is not set."
    )
    ramp: Ramp | None = Field(default=None, description="Coverage that rises by itself.")
    targeting: Expression | None = Field(
        default=None, description='CEL condition over the request, e.g. request.channel == "app".'
    )
    layer: Layer | None = Field(default=None, description="Keeps it apart from other experiments.")
    holdout: Holdout | None = Field(default=None, description="Units that take no part.")
    overrides: Overrides | None = Field(default=None, description="Units that get a variant by name.")
    store: Name | None = Field(
        default=None,
        description="A FeatureStore of this namespace whose ingest keeps exposures and joins outcomes; without one "
        "nothing but serving is watched.",
    )
    metrics: list[Metric] | None = Field(
        default=None, min_length=1, max_length=8, description="What is measured."
    )
    primary: Name | None = Field(default=None, description="The metric that decides.")
    guardrails: list[Guardrail] | None = Field(
        default=None, min_length=1, max_length=16, description="What a variant may not break."
    )
    analysis: Analysis = Field(default=Analysis(), description="How the verdict is found.")
    on_win: OnWin | None = Field(
        default=None,
        description="What follows when a variant is better. promote: everyone gets it. requireApproval: waits for "
        "decision.promote. nothing: goes on. Default: requireApproval.",
    )
    promotion: Promotion = Field(
        default="recommend",
        description="How the graph gets the promoted variant. recommend: the overlay serves it to everyone, and the "
        "status says the patch, for who keeps YAML in Git. patch: the operator patches the graph.",
    )
    decision: Decision | None = Field(default=None, description="What a person decides.")

    @property
    def baseline(self) -> Variant:
        return next(variant for variant in self.variants if variant.baseline)

    @property
    def treatments(self) -> list[Variant]:
        """The variants but for the baseline, in order."""
        return [variant for variant in self.variants if not variant.baseline]

    @property
    def full_coverage(self) -> int:
        """Percent of the units that take part when no ramp is under way."""
        if self.ramp is not None:
            return self.ramp.steps[-1].coverage
        return 100 if self.coverage is None else self.coverage

    @property
    def models(self) -> list[str]:
        """The ModelDeployments that variants name, sorted."""
        return sorted({variant.model for variant in self.variants if variant.model})
