# SPDX-License-Identifier: Apache-2.0
"""What must hold of views and bundles beyond the shape of their fields.

Views that do not exist yet are not problems of a bundle: pass only those that are known, and ask `missing_views` for
the rest.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from endcap_api.feature_columns import columns_of
from endcap_api.feature_defaults import default_problem
from endcap_api.feature_size import (
    HEADER,
    MAX_BYTES,
    bytes_per_entity,
    event_bytes,
    layout_kind,
    span_of,
    tile_ms,
    windows_of,
)
from endcap_api.nearest import did_you_mean
from endcap_api.problem import Problem
from endcap_api.v1alpha1.base import milliseconds
from endcap_api.v1alpha1.featurebundle import FeatureBundleSpec, Selected
from endcap_api.v1alpha1.featureview import Entity, Feature, FeatureViewSpec

Views = Mapping[str, FeatureViewSpec]


def view_problems(spec: FeatureViewSpec) -> list[Problem]:
    """Every problem of a view that needs more than rules over its fields."""
    spelling = list(_spelling_problems(spec))
    return [*_default_problems(spec), *_expiry_problems(spec), *(spelling or _size_problems(spec))]


def _default_problems(spec: FeatureViewSpec) -> Iterator[Problem]:
    for index, feature in enumerate(spec.features):
        problem = default_problem(feature)
        if problem is not None:
            yield Problem(f"spec.features[{index}].default", problem)


def _spelling_problems(spec: FeatureViewSpec) -> Iterator[Problem]:
    """A window is known by how it is written: in the names of columns, in bundles and in tiles."""
    written: dict[int, str] = {}
    for index, feature in enumerate(spec.features):
        for window in feature.windows or ():
            first = written.setdefault(milliseconds(window), window)
            if window != first:
                field = f"spec.features[{index}].windows"
                yield Problem(field, f"{window} is {first}, as another feature has it: write it as {first}")


def _expiry_problems(spec: FeatureViewSpec) -> Iterator[Problem]:
    """A tile's events count until the last of them has left the window, so its state may not expire before."""
    if layout_kind(spec) != "tiles":
        return
    for window in windows_of(spec):
        needed = milliseconds(window) + tile_ms(spec, window)
        if milliseconds(spec.ttl) < needed:
            yield Problem(
                "spec.ttl",
                f"window {window} reaches back by up to {span_of(needed)} with its tiles: raise ttl to that or more",
            )


def _size_problems(spec: FeatureViewSpec) -> Iterator[Problem]:
    size, stream = bytes_per_entity(spec), spec.source.stream
    if size <= MAX_BYTES:
        return
    too_much = f"one entity takes up to {size} bytes of {MAX_BYTES}"
    fitting = (MAX_BYTES - HEADER) // event_bytes(spec) if stream else 0
    if stream is None:
        remedy = "lower maxLength or maxItems, or move features to another view"
        yield Problem("spec.features", f"{too_much}: {remedy}")
    elif stream.storage == "tiles":
        remedy = "list larger tiles, or move features to another view"
        yield Problem("spec.source.stream.tiles", f"{too_much}: {remedy}")
    else:
        yield Problem("spec.source.stream.maxEvents", f"{too_much}: keep {fitting} events or fewer")


def missing_views(spec: FeatureBundleSpec, views: Views) -> list[str]:
    """The FeatureViews that a bundle names and that do not exist, sorted."""
    return sorted({selected.view for selected in spec.features} - set(views))


def bundle_problems(spec: FeatureBundleSpec, views: Views) -> list[Problem]:
    """Every problem of a bundle, given the views that exist."""
    return [
        *(
            problem
            for index in range(len(spec.features))
            for problem in _selected_problems(spec, views, index)
        ),
        *_entity_problems(spec, views),
    ]


def _selected_problems(spec: FeatureBundleSpec, views: Views, index: int) -> Iterator[Problem]:
    selected, where = spec.features[index], f"spec.features[{index}]"
    view = views.get(selected.view)
    if view is None:
        return
    feature = next((f for f in view.features if f.name == selected.feature), None)
    if feature is None:
        yield Problem(f"{where}.feature", _unknown_feature(selected, view))
    else:
        yield from _window_problems(selected, feature, where)


def _unknown_feature(selected: Selected, view: FeatureViewSpec) -> str:
    column = next((c for c in columns_of(view) if c.name == selected.feature), None)
    if column is not None:
        window = selected.feature.removeprefix(f"{column.feature}_")
        return f"is a column of {selected.view}: write feature: {column.feature}, window: {window}"
    names = [feature.name for feature in view.features]
    return f"is no feature of view {selected.view}: {did_you_mean(selected.feature, names)}"


def _window_problems(selected: Selected, feature: Feature, where: str) -> Iterator[Problem]:
    windows = feature.windows or []
    if selected.window is None and windows:
        yield Problem(
            f"{where}.window", f"{feature.name} has windows: add window, one of {', '.join(windows)}"
        )
    elif selected.window is not None and not windows:
        yield Problem(f"{where}.window", f"{feature.name} has no windows: remove window")
    elif selected.window is not None and selected.window not in windows:
        yield Problem(f"{where}.window", _unknown_window(selected.window, feature))


def _unknown_window(window: str, feature: Feature) -> str:
    windows = feature.windows or []
    same = next((w for w in windows if milliseconds(w) == milliseconds(window)), None)
    if same is not None:
        return f"is written {same} in the view: write it so"
    return f"is no window of {feature.name}: use one of {', '.join(windows)}"


def _entity_problems(spec: FeatureBundleSpec, views: Views) -> Iterator[Problem]:
    """One lookup has one entity: the same name and the same keys, in order and type."""
    first: tuple[str, Entity] | None = None
    for index, selected in enumerate(spec.features):
        view = views.get(selected.view)
        if view is None:
            continue
        first = first or (selected.view, view.entity)
        if view.entity != first[1]:
            yield Problem(
                f"spec.features[{index}].view",
                f"{selected.view} describes {_entity_text(view.entity)}, and {first[0]} "
                f"{_entity_text(first[1])}: a bundle has one entity, so put it into another bundle",
            )


def _entity_text(entity: Entity) -> str:
    keys = ", ".join(f"{key.name}: {key.type}" for key in entity.keys)
    return f"{entity.name} ({keys})"
