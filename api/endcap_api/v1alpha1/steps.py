# SPDX-License-Identifier: Apache-2.0
"""The steps of a graph: each has a name and is exactly one thing."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field, StringConstraints

from endcap_api.v1alpha1.base import Duration, Element, Identifier, Name, Rule, keyed_by_identifiers

Expression = Annotated[str, StringConstraints(min_length=1, max_length=512)]
Inputs = Annotated[dict[Identifier, Expression], Field(max_length=256)]
Keys = Annotated[dict[Identifier, Expression], Field(min_length=1, max_length=4)]
OnError = Literal["skip", "keepOrder", "defaults", "fail"]
KINDS = ("features", "model", "recall", "rank", "filter", "limit", "select")

_INPUTS_TEXT = (
    "CEL expression for each input of the model; one that is not listed is read from the field of its name"
)


class FeaturesStep(Element):
    """Looks a bundle of features up, once for the request or for each candidate."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "has(self.entity) != has(self.keys)",
            "features takes exactly one of entity and keys: name whose features, e.g. entity: request.customer",
        ),
        keyed_by_identifiers("keys"),
    )

    bundle: Name = Field(description="A FeatureBundle of this namespace.")
    entity: Expression | None = Field(
        default=None,
        description="CEL for the key of the entity: request.customer looks up once a request and is read as "
        "<step>.<feature>; candidate.id looks up each candidate and is read as candidate.<step>.<feature>.",
    )
    keys: Keys | None = Field(
        default=None, description="The same for an entity with several keys: CEL for each, by name."
    )


class ModelStep(Element):
    """Asks a model once a request; its outputs are read as <step>.<output>."""

    model: Name = Field(description="A ModelDeployment of this namespace.")
    inputs: Inputs | None = Field(default=None, description=f"{_INPUTS_TEXT} in the request.")


class Recall(Element):
    """Candidates from a model, which carry its other outputs as candidate.<step>.<output>, or from a list."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule("has(self.model) != has(self.products)", "recall takes exactly one of model and products"),
        Rule("!has(self.inputs) || has(self.model)", "recall.inputs go with recall.model: remove inputs"),
    )

    model: Name | None = Field(default=None, description="A ModelDeployment of this namespace.")
    products: Expression | None = Field(
        default=None,
        description="CEL list of keys of the catalogue, the best first, which asks no model: e.g. last.products of a "
        "features step that reads what a graph wrote back.",
    )
    inputs: Inputs | None = Field(default=None, description=f"{_INPUTS_TEXT} in the request.")
    top: int = Field(default=100, ge=1, le=1000, description="Most candidates that are taken, best first.")
    reason: Annotated[str, StringConstraints(min_length=1, max_length=256)] | None = Field(
        default=None,
        description="Why a candidate is here, for a person; {output} is replaced by that output of the model, "
        "e.g. Bought together with {because}.",
    )


class Rank(Element):
    """Orders the candidates by a model's score or by an expression, higher first."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule("has(self.model) != has(self.by)", "rank takes exactly one of model and by"),
        Rule("!has(self.inputs) || has(self.model)", "rank.inputs go with rank.model: remove inputs"),
    )

    model: Name | None = Field(
        default=None, description="A ModelDeployment of this namespace with an output named score."
    )
    by: Expression | None = Field(
        default=None,
        description="CEL number, e.g. 0.7 * candidate.together.score + 0.3 * candidate.buy_again.score.",
    )
    inputs: Inputs | None = Field(
        default=None, description=f"{_INPUTS_TEXT} in the candidate, then in the request."
    )


class Filter(Element):
    """Removes candidates by a rule."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule("has(self.keep) != has(self.drop)", "filter takes exactly one of keep and drop"),
    )

    keep: Expression | None = Field(
        default=None, description="CEL condition; candidates for which it is false go."
    )
    drop: Expression | None = Field(
        default=None, description="CEL condition; candidates for which it is true go."
    )


class Limit(Element):
    """Keeps variety: at most so many candidates of a kind, best first."""

    per: Expression = Field(description="CEL value that says the kind, e.g. candidate.category.")
    max: int = Field(ge=1, le=1000, description="Most candidates of one kind.")


class Select(Element):
    """Takes the first candidates for the answer."""

    count: Expression = Field(description='CEL integer: how many to answer with, e.g. request.limit or "10".')
    backfill: bool = Field(
        default=False,
        description="When too few are left, put back what limits removed, in order, then take from the fallback; "
        "filters hold for both.",
    )


class Step(Element):
    """One named step of a graph."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            f"[{', '.join(f'has(self.{kind})' for kind in KINDS)}].filter(x, x).size() == 1",
            f"a step is exactly one of {', '.join(KINDS[:-1])} and {KINDS[-1]}",
        ),
        Rule(
            "!has(self.timeout) || has(self.features) || has(self.model) || "
            "(has(self.recall) && has(self.recall.model)) || (has(self.rank) && has(self.rank.model))",
            "timeout is for steps that look features up or call a model: remove it",
        ),
        Rule(
            "!has(self.onError) || !has(self.select)",
            "select has no onError: one that fails goes to the fallback; remove onError",
        ),
        Rule(
            "!has(self.onError) || has(self.select) || self.onError == 'fail' || "
            "self.onError == (has(self.rank) ? 'keepOrder' : has(self.features) ? 'defaults' : 'skip')",
            "onError is keepOrder or fail for rank, defaults or fail for features, and skip or fail for the other "
            "steps",
        ),
    )

    name: Name = Field(
        description="Name of the step: in answers, metrics, logs and expressions (- becomes _)."
    )
    timeout: Duration | None = Field(
        default=None, description="Longest time that the step may take, within the deadline of the graph."
    )
    on_error: OnError | None = Field(
        default=None,
        description="What a failure of any kind does. skip: go on without the step. keepOrder (rank): keep the "
        "order so far. defaults (features): go on with the defaults of the features. fail: go to the fallback. "
        "Default: fail for filter, keepOrder for rank, defaults for features, else skip.",
    )
    features: FeaturesStep | None = Field(default=None, description="Look features up.")
    model: ModelStep | None = Field(default=None, description="Ask a model once a request.")
    recall: Recall | None = Field(default=None, description="Form candidates.")
    rank: Rank | None = Field(default=None, description="Order the candidates.")
    filter: Filter | None = Field(default=None, description="Remove candidates by a rule.")
    limit: Limit | None = Field(default=None, description="At most so many of a kind.")
    select: Select | None = Field(default=None, description="Take the first for the answer.")

    @property
    def kind(self) -> str:
        return next(kind for kind in KINDS if getattr(self, kind) is not None)

    @property
    def identifier(self) -> str:
        """The step's name as expressions spell it."""
        return self.name.replace("-", "_")

    @property
    def failure(self) -> OnError:
        """What a failure of this step does, with the default of its kind."""
        defaults: dict[str, OnError] = {
            "features": "defaults",
            "filter": "fail",
            "rank": "keepOrder",
            "select": "fail",
        }
        return self.on_error or defaults.get(self.kind, "skip")

    @property
    def model_name(self) -> str | None:
        called = self.model or self.recall or self.rank
        return called.model if called else None
