# SPDX-License-Identifier: Apache-2.0
"""The columns that a view gives: one a feature, or one a feature and window."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pydantic import Field

from endcap_api.v1alpha1.base import Element, milliseconds
from endcap_api.v1alpha1.featureview import Feature, FeatureViewSpec
from endcap_api.v1alpha1.values import Column

ZEROS: dict[str, Any] = {"string": "", "integer": 0, "number": 0.0, "boolean": False}


class FeatureColumn(Element):
    """`window_ms` is None where a feature has no windows; `default` is of the column's own type."""

    name: str
    feature: str
    type: str
    items: str | None = None
    window_ms: int | None = Field(default=None, ge=1)
    default: Any = None
    description: str | None = None

    @property
    def column(self) -> Column:
        """The column as graphs and models declare theirs."""
        inner = {"type": self.items} if self.items else None
        return Column.model_validate(
            {"name": self.name, "type": self.type, "items": inner, "description": self.description}
        )


def columns_of(view: FeatureViewSpec) -> list[FeatureColumn]:
    """All columns of a view, in order: by feature, then by window."""
    return [column for feature in view.features for column in _columns(feature)]


def _columns(feature: Feature) -> Iterator[FeatureColumn]:
    if not feature.windows:
        yield _column(feature, feature.name, None)
    for window in feature.windows or ():
        yield _column(feature, f"{feature.name}_{window}", milliseconds(window))


def _column(feature: Feature, name: str, window_ms: int | None) -> FeatureColumn:
    return FeatureColumn(
        name=name,
        feature=feature.name,
        type=feature.type,
        items=feature.items.type if feature.items else None,
        window_ms=window_ms,
        default=default_of(feature),
        description=feature.description,
    )


def default_of(feature: Feature) -> Any:
    """The declared default, or the zero of the feature's type."""
    if feature.default is None:
        return [] if feature.type == "array" else ZEROS[feature.type]
    if feature.items is not None and feature.items.type == "number":
        return [float(element) for element in feature.default]
    return float(feature.default) if feature.type == "number" else feature.default
