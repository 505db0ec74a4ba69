# SPDX-License-Identifier: Apache-2.0
"""FeatureBundle: a named, described, ordered list of features of one entity, across views."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from endcap_api.v1alpha1.base import Element, Identifier, Name, Rule, Span, Text


class Selected(Element):
    """A feature of a view, under the name by which it is read."""

    view: Name = Field(description="A FeatureView of this namespace.")
    feature: Identifier = Field(description="A feature of that view.")
    window: Span | None = Field(default=None, description="Which of its windows, e.g. 1h.")
    name: Identifier | None = Field(
        default=None, description="Name in the bundle; <feature>_<window>, or <feature>, when it is not set."
    )

    @property
    def column(self) -> str:
        """The column of the view."""
        return f"{self.feature}_{self.window}" if self.window else self.feature

    @property
    def known_as(self) -> str:
        return self.name or self.column


class FeatureBundleSpec(Element):
    """What a graph or a model asks for by one name."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "self.features.all(f, self.features.exists_one(g, "
            "(has(f.name) ? f.name : f.feature + (has(f.window) ? '_' + f.window : '')) == "
            "(has(g.name) ? g.name : g.feature + (has(g.window) ? '_' + g.window : ''))))",
            "two features of the bundle have the same name: give one of them another by name",
        ),
        Rule(
            "self.features.all(f, (has(f.name) ? f.name : f.feature) != 'statuses')",
            "statuses is what an answer calls the statuses of all features: give the feature another name by name",
        ),
    )

    description: Text | None = Field(default=None, description="What the features are for.")
    required: bool = Field(
        default=False,
        description="Fail a lookup when the store cannot be asked, instead of answering with defaults.",
    )
    features: list[Selected] = Field(min_length=1, max_length=128, description="The features, in order.")
