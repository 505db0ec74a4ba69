# SPDX-License-Identifier: Apache-2.0
"""The reference for people: the committed page is the generated one, and nothing of the schema is left out."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from endcap_api import reference
from endcap_api.structural import structural_schema
from endcap_api.v1alpha1.kinds import KINDS

PAGE = Path(__file__).parents[2] / "docs/reference.md"
COMMAND = "python -m endcap_api.reference docs/reference.md"


@pytest.fixture(scope="module")
def page() -> str:
    return reference.text()


def nodes(schema: Any) -> Iterator[dict[str, Any]]:
    """Every mapping within a schema."""
    if isinstance(schema, dict):
        yield schema
    for child in schema.values() if isinstance(schema, dict) else schema if isinstance(schema, list) else ():
        yield from nodes(child)


SCHEMAS = [structural_schema(part) for kind in KINDS.values() for part in (kind.spec, kind.status)]
NODES = [node for schema in SCHEMAS for node in nodes(schema)]


def test_the_committed_page_is_the_generated_one(page: str) -> None:
    assert PAGE.read_text(encoding="utf-8") == page, f"run {COMMAND}"


def test_every_field_and_every_rule_of_the_schema_is_told(page: str) -> None:
    fields = {
        name for node in NODES for name in node.get("properties", {}) if isinstance(node["properties"], dict)
    }
    messages = {rule["message"] for node in NODES for rule in node.get("x-kubernetes-validations", ())}
    messages |= {rule.message for kind in KINDS.values() for rule in kind.transitions}
    assert len(fields) > 50
    assert not [name for name in fields if f"| `{name}` |" not in page and f"| **`{name}`** |" not in page]
    assert not [message for message in messages if message not in page]


def test_every_link_leads_to_an_anchor_that_is_there_once(page: str) -> None:
    anchors = re.findall(r'<a id="([^"]+)"', page) + re.findall(r"^## (\w+)$", page.lower(), re.MULTILINE)
    assert len(anchors) == len(set(anchors))
    assert set(re.findall(r"\(#([^)]+)\)", page)) <= set(anchors)


def test_every_row_has_five_cells(page: str) -> None:
    rows = [line for line in page.splitlines() if line.startswith("| ")]
    assert {line.count("|") for line in rows} == {6}


def test_bounds_and_defaults_are_told_in_whole(page: str) -> None:
    assert "| `bodyBytes` | integer | `65536` | ≥ 256; ≤ 1048576 |" in page
    assert '| `cpu` | string | `"100m"` | length ≤ 16; CPU is a text of whole cores' in page


def test_the_command_writes_the_page(page: str, tmp_path: Path) -> None:
    reference.main([str(tmp_path / "reference.md")])
    assert (tmp_path / "reference.md").read_text(encoding="utf-8") == page
