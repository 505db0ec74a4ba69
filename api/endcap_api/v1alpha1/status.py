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
