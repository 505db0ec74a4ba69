# SPDX-License-Identifier: Apache-2.0
"""The OpenAPI document and the page say what the server does, and nothing in them can act."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import AsyncIterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from graphs import ITEMS
from shop import Shop

HOSTILE = [
    "{{7*7}}",
    "{% include '/etc/passwd' %}",
    "<img src=x onerror=alert(1)>",
    "</style><script>alert(1)</script>",
    "$(reboot)",
    "\x1b[31mred",
    "\u202ereversed",
    "line\nbreak",
    "' onmouseover='x",
]


@pytest.fixture
async def shop(tmp_path: Path) -> AsyncIterator[Shop]:
    async with Shop(tmp_path) as shop:
        yield shop


def resolved(document: dict[str, Any], name: str) -> dict[str, Any]:
    """A schema that stands alone."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$ref": f"#/components/schemas/{name}",
        **document,
    }


async def test_the_document_describes_requests_answers_and_refusals(shop: Shop) -> None:
    graph = (
        shop.basket()
        .ask("intent", "micro-intent")
        .field(
            "channel", type="string", enum=["web", "app"], default="web", description="Where the shopper is"
        )
        .field("store", type="string", required=True, description="Store number")
        .limit("variety", "candidate.category", 1)
        .select()
        .with_(description="Complete a basket.")
    )
    engine = shop.engine(graph)
    document = (await engine.get("/openapi.json")).json()
    assert document["openapi"] == "3.1.0"
    assert document["info"]["title"] == "basket"
    assert document["info"]["description"] == "Complete a basket."
    operation = document["paths"]["/basket"]["post"]
    for name in document["components"]["schemas"]:
        jsonschema.Draft202012Validator.check_schema(document["components"]["schemas"][name])
    request = document["components"]["schemas"]["Request"]
    assert request["additionalProperties"] is False
    assert request["required"] == ["store"]
    assert request["properties"]["channel"] == {
        "type": "string", "enum": ["web", "app"], "default": "web", "description": "Where the shopper is",
    }  # fmt: skip
    example = operation["requestBody"]["content"]["application/json"]["example"]
    jsonschema.validate(example, resolved(document, "Request"))
    response = await engine.post(example, explain="true")
    assert response.status_code == 200
    jsonschema.validate(response.json(), resolved(document, "Answer"))
    jsonschema.validate((await engine.post({"x": 1})).json(), resolved(document, "Problem"))
    assert set(operation["responses"]) >= {"200", "400", "413", "415", "422", "503"}


class _Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes.extend(attrs)

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.mark.parametrize("text", HOSTILE)
async def test_what_an_author_wrote_is_shown_and_never_acts(tmp_path: Path, text: str) -> None:
    async with Shop(tmp_path, items=[{**ITEMS[0], "name": f"Paper {text}"}, *ITEMS[1:]]) as shop:
        graph = shop.basket().field("store", type="string", description=text).select().with_(description=text)
        engine = shop.engine(graph)
        page = _Page()
        response = await engine.get("/docs")
        page.feed(response.text)
        assert set(page.tags) <= {
            "html", "head", "meta", "title", "style", "body", "main", "h1", "h2", "p", "bdi", "code", "a", "table",
            "thead", "tbody", "tr", "th", "td", "pre",
        }  # fmt: skip
        assert {name for name, _ in page.attributes} <= {
            "lang",
            "charset",
            "name",
            "content",
            "href",
            "class",
        }
        assert page.text.count(text) >= 2
        answer = await engine.ask(cart=[f"Paper {text}"])
        assert f"Paper {text}" in answer["recommendations"][1]["reason"]
        lines = (await engine.get("/metrics")).text
        assert text not in lines


async def test_the_page_may_load_nothing_but_its_own_style(shop: Shop) -> None:
    response = await shop.engine(shop.basket().select()).get("/docs")
    policy = response.headers["content-security-policy"]
    style = re.search(r"<style>(.*?)</style>", response.text, re.DOTALL)
    assert style is not None
    digest = base64.b64encode(hashlib.sha256(style.group(1).encode()).digest()).decode()
    assert policy.startswith(f"default-src 'none'; style-src 'sha256-{digest}';")
    assert "script" not in response.text
    assert response.headers["x-content-type-options"] == "nosniff"
