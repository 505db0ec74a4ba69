# SPDX-License-Identifier: Apache-2.0
"""The generated schemas: structural, bounded, described, and the ones that are committed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import pytest
import yaml
from pydantic import Field

from endcap_api import crd
from endcap_api.structural import structural_schema
from endcap_api.v1alpha1.base import Element
from endcap_api.v1alpha1.kinds import KINDS, Kind

CRDS = Path(__file__).parents[2] / "crds"
kinds = pytest.mark.parametrize("kind", KINDS.values(), ids=lambda kind: kind.name)


def nodes(schema: dict[str, Any], path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    yield path, schema
    for name, child in schema.get("properties", {}).items():
        yield from nodes(child, f"{path}.{name}")
    for inner in ("items", "additionalProperties"):
        if isinstance(schema.get(inner), dict):
            yield from nodes(schema[inner], f"{path}[]")


def whole(kind: Kind) -> dict[str, Any]:
    versions = crd.definition(kind)["spec"]["versions"]
    schema: dict[str, Any] = versions[0]["schema"]["openAPIV3Schema"]
    return schema


def fields(kind: Kind) -> Iterator[tuple[str, dict[str, Any]]]:
    for part in ("spec", "status"):
        yield from nodes(whole(kind)["properties"][part], part)


@kinds
def test_the_committed_crd_is_the_generated_one(kind: Kind) -> None:
    committed = (CRDS / f"{kind.plural}.yaml").read_text()
    assert committed == crd.text(kind), "run make crds"


def test_nothing_else_is_among_the_crds() -> None:
    assert {path.stem for path in CRDS.iterdir()} == {kind.plural for kind in KINDS.values()}


@kinds
def test_kubernetes_finds_neither_references_nor_nulls_nor_titles(kind: Kind) -> None:
    for path, schema in fields(kind):
        assert not {"$ref", "$defs", "title", "anyOf", "allOf", "const", "propertyNames"} & set(schema), path
        assert schema.get("default", 0) is not None, path


@kinds
def test_every_field_is_described_for_kubectl_explain(kind: Kind) -> None:
    for path, schema in fields(kind):
        if not path.endswith("[]"):
            assert len(schema.get("description", "")) > 5, path
            assert schema["description"].endswith((".", "…")), path


@kinds
def test_every_string_list_and_map_has_a_maximum(kind: Kind) -> None:
    for path, schema in fields(kind):
        if schema.get("type") == "string":
            assert "maxLength" in schema or "enum" in schema, path
        if schema.get("type") == "array":
            assert "maxItems" in schema, path
        if "additionalProperties" in schema:
            assert "maxProperties" in schema, path


FREE = {
    "InferenceGraph": ["spec.api.request[].default"],
    "FeatureView": ["spec.features[].default"],
}


@kinds
def test_only_the_defaults_of_request_fields_and_features_are_free(kind: Kind) -> None:
    free = [path for path, schema in fields(kind) if schema.get("x-kubernetes-preserve-unknown-fields")]
    assert free == FREE.get(kind.name, [])


@kinds
def test_no_reference_leaves_the_namespace(kind: Kind) -> None:
    assert not [path for path, _ in fields(kind) if path.rpartition(".")[2].lower() == "namespace"]


@kinds
def test_no_field_reaches_into_the_pod(kind: Kind) -> None:
    forbidden = {"image", "serviceAccountName", "hostPath", "privileged", "securityContext", "volumes", "env"}
    assert not [path for path, _ in fields(kind) if path.rpartition(".")[2] in forbidden]


@kinds
def test_every_rule_says_what_to_do(kind: Kind) -> None:
    rules = [
        (path, rule) for path, node in nodes(whole(kind)) for rule in node.get("x-kubernetes-validations", ())
    ]
    assert rules
    for path, rule in rules:
        assert set(rule) == {"rule", "message"}, path
        assert 20 < len(rule["message"]) < 200, path


@kinds
def test_crds_are_small_enough_to_apply_on_the_client(kind: Kind) -> None:
    assert (
        len(yaml.safe_dump(crd.definition(kind))) < 100_000
    )  # kubectl apply keeps a copy of at most 256 KiB


class _Inner(Element):
    """What is inside."""

    choice: Literal["a", "b"] = Field(default="a", description="One of two.")
    note: str | None = Field(default=None, max_length=5, description="Or nothing.")


class _Outer(Element):
    """What is outside."""

    inner: _Inner = Field(default=_Inner(), description="Said here.")
    by_name: dict[str, _Inner] = Field(max_length=3, description="By name.")


def test_a_reference_takes_the_description_of_its_field_and_its_default_without_nulls() -> None:
    inner = structural_schema(_Outer)["properties"]["inner"]
    assert inner["description"] == "Said here."
    assert inner["default"] == {"choice": "a"}
    assert inner["properties"]["note"] == {"type": "string", "maxLength": 5, "description": "Or nothing."}


def test_a_map_keeps_the_schema_of_its_values_and_its_bound() -> None:
    schema = structural_schema(_Outer)["properties"]["byName"]
    assert schema["maxProperties"] == 3
    assert schema["additionalProperties"]["properties"]["choice"]["enum"] == ["a", "b"]
    assert structural_schema(_Outer)["required"] == ["byName"]
