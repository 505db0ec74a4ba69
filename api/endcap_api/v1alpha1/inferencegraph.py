# SPDX-License-Identifier: Apache-2.0
"""InferenceGraph: one readable entry point in front of the models."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field, StringConstraints

from endcap_api.v1alpha1.base import (
    Duration,
    Element,
    Identifier,
    Name,
    Rule,
    SecretRef,
    Spelling,
    Text,
    keyed_by_identifiers,
)
from endcap_api.v1alpha1.modeldeployment import BUCKET_RULE, ArtefactUri, Sha256
from endcap_api.v1alpha1.pods import Replicas, Resources
from endcap_api.v1alpha1.steps import Expression, Keys, Step
from endcap_api.v1alpha1.values import Column, RequestField


class Api(Element):
    """What a client sees."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "!(self.path in ['/docs', '/livez', '/readyz', '/metrics', '/healthz', '/schema'])",
            "api.path is taken by the server itself: choose another, e.g. /basket",
        ),
        Rule(
            "self.request.all(k, k.matches('^[a-z][a-z0-9_]*$'))",
            "names of request fields are lower-case letters, digits and _, a letter first: rename it",
        ),
        Rule("!('explain' in self.request)", "explain is the server's own query parameter: rename the field"),
    )

    path: Annotated[
        str,
        StringConstraints(max_length=128),
        Spelling(
            "^/[a-z0-9][a-z0-9-]*(/[a-z0-9-]+)*$",
            "a path is lower-case letters, digits and - after each /: write it as /basket",
        ),
    ] = Field(description="Path of the POST request, e.g. /basket.")
    request: Annotated[dict[Identifier, RequestField], Field(min_length=1, max_length=32)] = Field(
        description="Fields of the request by name."
    )


class Catalogue(Element):
    """Every item that can be recommended, as columns in the memory of the graph."""

    rules: ClassVar[tuple[Rule, ...]] = (
        BUCKET_RULE,
        Rule(
            "self.columns.exists(c, c.name == self.key && c.type == 'string')",
            "catalogue.columns lacks the key column with type string: add it, or change key",
        ),
        Rule(
            "self.columns.exists(c, c.name == self.name && c.type == 'string')",
            "catalogue.columns lacks the name column with type string: add it, or change name",
        ),
        Rule(
            "self.columns.all(c, c.type != 'product' && c.name != 'score' && "
            "(!has(c.items) || c.items.type != 'product'))",
            "a catalogue column has a type other than product and a name other than score: change it",
        ),
    )

    uri: ArtefactUri = Field(
        description="A Parquet file, one row an item: s3://bucket/key, https://…, pvc://…"
    )
    sha256: Sha256 = Field(description="SHA-256 of the file in hexadecimal.")
    secret_ref: SecretRef | None = Field(
        default=None,
        description="Credentials: keys accessKey and secretKey for s3, username and password or token for http.",
    )
    key: Identifier = Field(default="id", description="Column that identifies an item to models.")
    name: Identifier = Field(default="name", description="Column that names an item to people.")
    columns: list[Column] = Field(
        min_length=2,
        max_length=128,
        description="Columns that are loaded; expressions read them as candidate.<name>.",
    )


class CatalogueFallback(Element):
    """The first items of the catalogue by a column; needs no model and no network."""

    order_by: Identifier = Field(description="A number or integer column of the catalogue, highest first.")


class Empty(Element):
    """An answer without recommendations."""


class Fallback(Element):
    """One rung of the ladder that is tried when the steps fail."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "[has(self.model), has(self.catalogue), has(self.empty)].filter(x, x).size() == 1",
            "a fallback is exactly one of model, catalogue and empty",
        ),
    )

    model: Name | None = Field(
        default=None, description="A recall model whose inputs are fields of the request."
    )
    catalogue: CatalogueFallback | None = Field(
        default=None, description="The first items of the catalogue by a column."
    )
    empty: Empty | None = Field(default=None, description="Answer with an empty list: empty: {}.")


class WriteBack(Element):
    """Keeps a result as a feature, after the answer has been sent."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "has(self.entity) != has(self.keys)",
            "writeBack takes exactly one of entity and keys: name whose features, e.g. entity: request.customer",
        ),
        keyed_by_identifiers("keys"),
        keyed_by_identifiers("features"),
    )

    view: Name = Field(description="A FeatureView of this namespace with source derived.")
    entity: Expression | None = Field(
        default=None, description="CEL for the key of the entity, e.g. request.customer."
    )
    keys: Keys | None = Field(
        default=None, description="The same for an entity with several keys: CEL for each, by name."
    )
    features: Annotated[dict[Identifier, Expression], Field(min_length=1, max_length=64)] = Field(
        description="CEL for each feature of the view that is written: fields of the request, outputs of model and "
        "features steps, and answer.products (keys, in order), answer.scores.",
    )


class Limits(Element):
    """What one pod takes on."""

    concurrency: int = Field(
        default=64,
        ge=1,
        le=4096,
        description="Requests at once in a pod; more are answered 503 with Retry-After.",
    )
    body_bytes: int = Field(
        default=65536, ge=256, le=1048576, description="Largest request body in bytes; more is 413."
    )


class InferenceGraphSpec(Element):
    """A graph of named steps from a readable request to a readable answer."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "self.steps.exists(s, has(s.recall))",
            "a graph needs a recall step: add one that forms candidates",
        ),
        Rule(
            "has(self.steps[self.steps.size() - 1].select) && self.steps.filter(s, has(s.select)).size() == 1",
            "the last step, and only the last, is a select: add {name: top, select: {count: request.limit}} at the end",
        ),
        Rule(
            "!has(self.fallback) || self.fallback.filter(f, has(f.empty)).size() == 0 || "
            "(has(self.fallback[self.fallback.size() - 1].empty) && "
            "self.fallback.filter(f, has(f.empty)).size() == 1)",
            "fallback empty never fails, so it is the last: remove what stands behind it",
        ),
    )

    description: Text | None = Field(
        default=None, description="What the graph recommends; shown in the OpenAPI document."
    )
    api: Api = Field(description="What a client sees.")
    deadline: Duration = Field(
        default="1s", description="Longest time for an answer; each step gets what is left of it."
    )
    catalogue: Catalogue = Field(description="The items that can be recommended.")
    steps: list[Step] = Field(
        min_length=1, max_length=32, description="The steps; those that can run together do."
    )
    fallback: list[Fallback] | None = Field(
        default=None,
        min_length=1,
        max_length=8,
        description="What to answer from when the steps fail, in order.",
    )
    write_back: list[WriteBack] | None = Field(
        default=None,
        min_length=1,
        max_length=8,
        description="Results that are kept as features after the answer has been sent; a step that failed writes none.",
    )
    limits: Limits = Field(default=Limits(), description="What one pod takes on.")
    replicas: Replicas = Field(default=Replicas(), description="How many pods serve the graph.")
    resources: Resources = Field(default=Resources(), description="CPU and memory of each pod.")
