# SPDX-License-Identifier: Apache-2.0
"""What the operator reports; only it writes these."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from endcap_api.v1alpha1.base import Element, Name

# Written by the operator alone, so the API server need not spend its budget of rules on how they are spelt.
Listed = Annotated[str, StringConstraints(max_length=64)]


class Condition(Element):
    """One statement about the resource, in the form of Kubernetes."""

    type: str = Field(max_length=63, description="What the statement is about, e.g. Ready.")
    status: Literal["True", "False", "Unknown"] = Field(description="Whether it holds.")
    reason: str = Field(max_length=64, description="Why, in one CamelCase word.")
    message: str = Field(max_length=2048, description="Why, and what to do about it.")
    observed_generation: int = Field(ge=0, description="The generation of the spec that this is about.")
    last_transition_time: str = Field(
        max_length=32, description="When the status last changed.", json_schema_extra={"format": "date-time"}
    )


class Status(Element):
    """What is the same for every kind."""

    observed_generation: int | None = Field(
        default=None, ge=0, description="The generation that was last acted on."
    )
    conditions: list[Condition] | None = Field(
        default=None,
        max_length=16,
        description="Accepted, Progressing, Ready, …",
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]},
    )


class ServedStatus(Status):
    """What is the same for every kind that has pods."""

    url: str | None = Field(default=None, max_length=512, description="Address inside the cluster.")
    replicas: int | None = Field(default=None, ge=0, description="Pods that exist.")
    ready_replicas: int | None = Field(default=None, ge=0, description="Pods that are ready.")
    selector: str | None = Field(default=None, max_length=512, description="Label selector of the pods.")


class ModelDeploymentStatus(ServedStatus):
    """State of a ModelDeployment."""

    version: str | None = Field(
        default=None, max_length=128, description="Version that the ready pods serve."
    )
    sha256: str | None = Field(
        default=None, max_length=64, description="Digest of the artefact that the ready pods serve."
    )


class FeatureStoreStatus(ServedStatus):
    """State of a FeatureStore."""

    backend: str | None = Field(default=None, max_length=64, description="embedded, redis or redis cluster.")
    durability: str | None = Field(
        default=None, max_length=256, description="What a crash of the store can lose, in words."
    )
    views: int | None = Field(default=None, ge=0, description="FeatureViews that name this store.")
    lag: str | None = Field(
        default=None, max_length=32, description="Age of the oldest event that waits to be applied, e.g. <1s."
    )
    dead_letters: int | None = Field(default=None, ge=0, description="Refused events that are kept.")


class FeatureViewStatus(Status):
    """State of a FeatureView."""

    layout: str | None = Field(default=None, max_length=32, description="events, tiles or row.")
    bytes_per_entity: int | None = Field(
        default=None, ge=0, description="Most bytes of one entity in the store, without its key."
    )
    window_error: dict[str, Listed] | None = Field(
        default=None,
        max_length=64,
        description="How much further than asked each window may reach back, e.g. {1h: 1m}; 0s is exact.",
    )
    lag: str | None = Field(
        default=None, max_length=32, description="How far the values are behind the events."
    )
    warmth: str | None = Field(
        default=None,
        max_length=32,
        description="How much of the longest window has been seen, e.g. 40% of 24h.",
    )
    bundles: list[Listed] | None = Field(
        default=None, max_length=256, description="FeatureBundles that carry features of this view."
    )
    carried_by: dict[str, Annotated[list[Listed], Field(max_length=256)]] | None = Field(
        default=None, max_length=64, description="For each feature the FeatureBundles that carry it."
    )


class FeatureBundleStatus(Status):
    """State of a FeatureBundle."""

    entity: str | None = Field(default=None, max_length=63, description="Whom or what the features describe.")
    features: int | None = Field(default=None, ge=0, description="Number of features.")
    views: list[Listed] | None = Field(default=None, max_length=128, description="FeatureViews behind it.")
    used_by: list[Listed] | None = Field(
        default=None, max_length=256, description="Graphs and models that ask for it, as kind/name."
    )


class InferenceGraphStatus(ServedStatus):
    """State of an InferenceGraph."""

    steps: int | None = Field(default=None, ge=0, description="Number of steps.")
    models: list[Name] | None = Field(
        default=None, max_length=64, description="ModelDeployments that the graph calls."
    )
    revision: str | None = Field(
        default=None, max_length=64, description="Revision of the configuration that is wanted."
    )
    serving: str | None = Field(
        default=None,
        max_length=64,
        description="Replicas that serve the wanted revision, of all ready ones, e.g. 2/2.",
    )
    experiments: list[Name] | None = Field(
        default=None, max_length=64, description="Experiments that overlay its steps now."
    )


class VariantStatus(Element):
    """State of one variant."""

    name: Name = Field(description="Name of the variant.")
    model: str | None = Field(
        default=None,
        max_length=128,
        description="Model and version that are pinned, e.g. basket-ranker-v2@2.",
    )
    digest: str | None = Field(
        default=None, max_length=64, description="SHA-256 of the artefact that is pinned."
    )
    share: str | None = Field(
        default=None, max_length=16, description="Share of all units that get it now, e.g. 12.5%."
    )
    buckets: list[Annotated[str, StringConstraints(max_length=11)]] | None = Field(
        default=None, max_length=10000, description="Its buckets at full coverage, in order."
    )
    units: int | None = Field(default=None, ge=0, description="Units that were exposed to it and count.")
    fallback: str | None = Field(
        default=None,
        max_length=16,
        description="Share of them that got the baseline since it failed, e.g. 0.3%.",
    )
    lift: dict[str, Annotated[str, StringConstraints(max_length=64)]] | None = Field(
        default=None,
        max_length=8,
        description="By metric, how much more than the baseline, with its confidence sequence: +1.8% [-0.4%, +4.0%].",
    )
    shadow: str | None = Field(
        default=None,
        max_length=128,
        description="Of a shadow: overlap of the first ten, correlation of ranks, p95, failures.",
    )


class GuardrailStatus(Element):
    """State of one guardrail in its worst variant."""

    name: str = Field(max_length=64, description="The metric, or what of serving is watched.")
    state: Literal["ok", "breached", "no data"] = Field(description="ok, breached or no data.")
    message: str = Field(max_length=256, description="The figures, and the limit.")


class Transition(Element):
    """One step of the experiment's course."""

    time: str = Field(
        max_length=32, description="When it happened.", json_schema_extra={"format": "date-time"}
    )
    phase: str = Field(max_length=32, description="The phase that began.")
    message: str = Field(max_length=512, description="Why, with the figures.")


Phase = Literal[
    "Pending",
    "Ramping",
    "Running",
    "Paused",
    "AwaitingApproval",
    "Promoting",
    "Promoted",
    "RolledBack",
    "Aborted",
    "Ended",
]


class ExperimentStatus(Status):
    """State of an Experiment."""

    phase: Phase | None = Field(
        default=None,
        description="Pending, Ramping, Running, Paused, AwaitingApproval, Promoting, Promoted, RolledBack, Aborted or "
        "Ended (without a winner).",
    )
    revision: int | None = Field(default=None, ge=0, description="Revision of the assignment that is wanted.")
    epoch: int | None = Field(
        default=None,
        ge=1,
        description="Counts the ratios that the variants had; units of different ones are not mixed.",
    )
    serving: str | None = Field(
        default=None,
        max_length=64,
        description="Replicas of the graph that serve it, of all ready ones, e.g. 3/3.",
    )
    salt: str | None = Field(default=None, max_length=128, description="What assignment depends on.")
    traffic: str | None = Field(
        default=None, max_length=16, description="Share of the units that take part now, e.g. 25%."
    )
    split: str | None = Field(
        default=None, max_length=64, description="The variants' parts of it in percent, e.g. 50/50."
    )
    units: int | None = Field(default=None, ge=0, description="Units that were exposed and count.")
    sample_ratio: str | None = Field(
        default=None,
        max_length=64,
        description="ok, mismatch, or no data, with the Bayes factor against the weights.",
    )
    primary: str | None = Field(
        default=None,
        max_length=64,
        description="Lift of the primary metric in the best variant: +1.8% [-0.4%, +4.0%].",
    )
    verdict: str | None = Field(
        default=None,
        max_length=64,
        description="None yet, Better, Worse, Inconclusive, Invalid or GuardrailBreached, with the variant.",
    )
    guardrail: str | None = Field(default=None, max_length=64, description="ok 3/3, or which is breached.")
    variants: list[VariantStatus] | None = Field(default=None, max_length=8, description="The variants.")
    guardrails: list[GuardrailStatus] | None = Field(
        default=None, max_length=16, description="Each guardrail."
    )
    recommendation: str | None = Field(
        default=None,
        max_length=1024,
        description="What a person can do next, as a command: the patch of the graph after a promotion.",
    )
    history: list[Transition] | None = Field(
        default=None, max_length=32, description="The last transitions, newest last."
    )
    analysed_at: str | None = Field(
        default=None,
        max_length=32,
        description="When the figures last changed.",
        json_schema_extra={"format": "date-time"},
    )
