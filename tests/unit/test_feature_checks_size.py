# SPDX-License-Identifier: Apache-2.0
"""The bytes an entity that admission promises are those of the packing, and a default that passes fits its type."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from views import activity, entity, feature, last_intent, popularity, profile

from endcap_api.feature_checks import view_problems
from endcap_api.feature_columns import columns_of, default_of
from endcap_api.feature_defaults import default_problem
from endcap_api.feature_size import (
    MAX_BYTES,
    bytes_per_entity,
    layout_kind,
    span_of,
    window_errors,
)
from endcap_api.features_config import ViewConfig
from endcap_api.v1alpha1.base import milliseconds
from endcap_api.v1alpha1.featureview import Feature, FeatureViewSpec
from endcap_runtime.features.layout import compile_view

AGGREGATED = {
    "count": ["integer"],
    "distinct": ["integer"],
    "sum": ["integer", "number"],
    "mean": ["number"],
    "min": ["integer", "number"],
    "max": ["integer", "number"],
    "last": ["integer", "number", "boolean", "string"],
    "top": ["array"],
}
TILED = ("count", "sum", "mean", "min", "max", "last")
SPANS = ["1m", "5m", "1h", "3h", "24h"]
ITEMS = st.sampled_from(["string", "integer", "number"])


def spec_of(manifest: dict[str, Any]) -> FeatureViewSpec:
    return FeatureViewSpec.model_validate(manifest["spec"])


@st.composite
def aggregates(draw: st.DrawFn, name: str, storage: str) -> dict[str, Any]:
    aggregation = draw(st.sampled_from(TILED if storage == "tiles" else sorted(AGGREGATED)))
    kinds = [kind for kind in AGGREGATED[aggregation] if storage == "events" or kind != "string"]
    kind = draw(st.sampled_from(kinds))
    made = feature(name, kind, draw(ITEMS) if kind == "array" else None, aggregation=aggregation)
    made["event"] = draw(st.sampled_from(["click", "purchase"]))
    made["windows"] = draw(st.lists(st.sampled_from(SPANS), min_size=1, max_size=3, unique=True))
    if aggregation != "count":
        made["field"] = draw(st.sampled_from(["amount", "brand"]))
    if draw(st.booleans()):
        made["where"] = draw(st.sampled_from([{"channel": "web"}, {"channel": "app", "kind": "new"}]))
    return {**made, **draw(sizes(made))}


@st.composite
def sizes(draw: st.DrawFn, made: dict[str, Any]) -> dict[str, Any]:
    """Bounds of values, as far as the feature takes them."""
    kinds = {made["type"], made.get("items", {}).get("type")}
    found: dict[str, Any] = {}
    if "string" in kinds and draw(st.booleans()):
        found["maxLength"] = draw(st.integers(1, 256))
    if "array" in kinds and draw(st.booleans()):
        found["maxItems"] = draw(st.integers(1, 256))
    if "number" in kinds and "aggregation" in made and draw(st.booleans()):
        found["decimals"] = draw(st.integers(0, 9))
    return found


@st.composite
def rows(draw: st.DrawFn, name: str) -> dict[str, Any]:
    kind = draw(st.sampled_from(["string", "integer", "number", "boolean", "array"]))
    made = feature(name, kind, draw(ITEMS) if kind == "array" else None)
    return {**made, **draw(sizes(made))}


@st.composite
def views(draw: st.DrawFn) -> dict[str, Any]:
    storage = draw(st.sampled_from(["events", "tiles", "precomputed", "derived"]))
    names = [f"f{i}" for i in range(draw(st.integers(1, 12)))]
    stream = storage in ("events", "tiles")
    made = [draw(aggregates(name, storage) if stream else rows(name)) for name in names]
    source: dict[str, Any] = {"stream": {"storage": storage}} if stream else {storage: {}}
    if storage == "events" and draw(st.booleans()):
        source["stream"]["maxEvents"] = draw(st.integers(1, 4096))
    if storage == "tiles" and any("3h" in each["windows"] for each in made) and draw(st.booleans()):
        source["stream"]["tiles"] = {"3h": draw(st.sampled_from(["1m", "15m", "3h", "8s"]))}
    return {"entity": entity("customer_id"), "ttl": "48h", "source": source, "features": made}


@given(views())
@settings(max_examples=200)
def test_what_is_promised_is_what_is_packed(manifest: dict[str, Any]) -> None:
    spec = FeatureViewSpec.model_validate(manifest)
    compiled = compile_view("any", ViewConfig(spec=spec), "0" * 8)
    assert compiled.bytes == bytes_per_entity(spec)
    assert compiled.kind == layout_kind(spec)
    too_large = any("bytes of 65536" in problem.message for problem in view_problems(spec))
    assert too_large == (compiled.bytes > MAX_BYTES)


@pytest.mark.parametrize("manifest", [activity(), popularity(), profile(), last_intent()])
def test_views_of_the_tests_are_packed_as_promised(manifest: dict[str, Any]) -> None:
    spec = spec_of(manifest)
    assert compile_view("any", ViewConfig(spec=spec), "0" * 8).bytes == bytes_per_entity(spec)


def test_a_row_is_as_large_as_its_header_and_its_cells() -> None:
    # a header of 24 and 8 bytes of what is set; text, two numbers, a flag, and 16 texts behind their number
    assert bytes_per_entity(spec_of(profile())) == 24 + 8 + 32 + 8 + 8 + 1 + 2 + 16 * 32


def test_windows_over_events_are_exact_and_over_tiles_off_by_a_tile() -> None:
    assert window_errors(spec_of(activity())) == {"5m": "0s", "1h": "0s", "24h": "0s"}
    assert window_errors(spec_of(popularity())) == {"1h": "1m", "24h": "15m"}
    assert window_errors(spec_of(profile())) == {}


@given(st.integers(1, 999_999))
def test_a_span_is_written_as_people_would_and_read_back(seconds: int) -> None:
    assert milliseconds(span_of(seconds * 1000)) == seconds * 1000
    assert (span_of(90_000), span_of(3_600_000), span_of(900_000)) == ("90s", "1h", "15m")


ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=40),
    lambda inner: st.lists(inner, max_size=20) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=20,
)
TYPES: dict[str, type] = {"string": str, "integer": int, "number": float, "boolean": bool, "array": list}


def is_a(kind: str, value: Any) -> bool:
    """Written beside the product's own judgement, from the contract alone."""
    if kind in ("integer", "number") and isinstance(value, bool):
        return False
    if kind == "integer":
        return isinstance(value, int) and -(2**63) <= value < 2**63
    if kind == "number":
        return isinstance(value, int | float) and math.isfinite(value) and abs(value) < 1.8e308
    if kind == "string":
        return isinstance(value, str) and len(value.encode(errors="surrogatepass")) <= 32
    return isinstance(value, TYPES[kind])


@given(rows("f"), ANY)
@settings(max_examples=200)
def test_a_default_passes_exactly_when_the_feature_can_have_it(manifest: dict[str, Any], value: Any) -> None:
    made = {key: each for key, each in manifest.items() if key not in ("maxLength", "maxItems")}
    feature_ = Feature.model_validate({**made, "default": value})
    if feature_.type == "array" and feature_.items is not None:
        kind = feature_.items.type
        sound = isinstance(value, list) and len(value) <= 16 and all(is_a(kind, each) for each in value)
    else:
        sound = is_a(feature_.type, value)
    assert (default_problem(feature_) is None) == (value is None or sound)


@given(rows("f"), ANY)
@settings(max_examples=200)
def test_a_default_that_passes_is_a_row_that_can_be_packed(manifest: dict[str, Any], value: Any) -> None:
    spec = {"entity": entity("id"), "source": {"derived": {}}, "features": [{**manifest, "default": value}]}
    view = FeatureViewSpec.model_validate(spec)
    if view_problems(view):
        return
    (column,) = columns_of(view)
    assert column.default == default_of(view.features[0])
    compile_view("any", ViewConfig(spec=view), "0" * 8).row({"f": column.default}, 1)


def test_a_view_that_no_view_can_be_is_refused_before_its_size_is_asked() -> None:
    with pytest.raises(ValidationError):
        spec_of(popularity(source={"stream": {"storage": "tiles", "tiles": {"24h": "1s"}}}))
