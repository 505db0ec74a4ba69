# SPDX-License-Identifier: Apache-2.0
"""The HTTP face of a graph: strict about requests, plain in its words, and the same by every path."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from shop import Engine, Shop

from endcap_runtime.graph import attended

CART = {"customer": "1467", "cart": ["Paper plates"], "store": "330"}


@pytest.fixture
async def shop(tmp_path: Path) -> AsyncIterator[Shop]:
    async with Shop(tmp_path) as shop:
        yield shop


@pytest.fixture
def engine(shop: Shop) -> Engine:
    graph = (
        shop.basket()
        .field("channel", type="string", enum=["web", "app"], default="web")
        .field("express", type="boolean")
        .field("budget", type="number")
        .field("gift", type="product")
    )
    return shop.engine(graph.select())


async def refused(engine: Engine, status: int, body: Any) -> dict[str, str]:
    """The messages by field."""
    response = await (engine.send(body) if isinstance(body, bytes) else engine.post(body))
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    problem = response.json()
    assert problem["status"] == status
    return {error["field"]: error["message"] for error in problem.get("errors", [])}


async def test_an_unknown_product_is_refused_with_the_nearest_names(engine: Engine) -> None:
    errors = await refused(engine, 422, {"cart": ["Paper plates", "Paper napkin", "Bananas"]})
    assert list(errors) == ["cart[1]", "cart[2]"]
    assert "nearest: Paper napkins" in errors["cart[1]"]
    assert "'Bananas' is not a product of the catalogue" in errors["cart[2]"]


async def test_products_are_found_without_regard_to_case(shop: Shop, engine: Engine) -> None:
    await engine.ask(cart=["paper PLATES"])
    assert shop.models["item-cooccurrence"].calls[0].columns == {"cart": [["1"]]}


async def test_an_unknown_field_is_refused_with_the_nearest_name(engine: Engine) -> None:
    errors = await refused(engine, 422, {**CART, "sotre": "330"})
    assert "did you mean store? The fields are" in errors["sotre"]


async def test_a_long_unknown_field_is_named_by_its_beginning(engine: Engine) -> None:
    response = await engine.post({**CART, "z" * 3000: "330"})
    assert response.status_code == 422
    (error,) = response.json()["errors"]
    assert error["field"] == "z" * 64
    assert "is not a field of this request: remove it. The fields are customer" in error["message"]
    assert "z" * 65 not in response.text


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("customer", 1467, "is a number, not a string"),
        ("customer", None, "is null, not a string"),
        ("cart", "Paper plates", "is a string, not an array"),
        ("cart", [["Paper plates"]], "is an array, not a string"),
        ("cart", ["Milk"] * 101, "has 101 elements of 100 allowed"),
        ("limit", "3", "is a string, not an integer"),
        ("limit", 2.5, "is a number, not an integer"),
        ("limit", True, "is true or false, not an integer"),
        ("limit", 0, "is less than 1"),
        ("limit", 51, "is more than 50"),
        ("limit", 2**63, "does not fit into 64 bits"),
        ("channel", "email", "is not one of web, app"),
        ("express", 1, "is a number, not true or false"),
        ("budget", "12.5", "is a string, not a number"),
        ("gift", "", "is not a product"),
    ],
)
async def test_a_value_that_does_not_fit_is_named(engine: Engine, field: str, value: Any, said: str) -> None:
    errors = await refused(engine, 422, {**CART, field: value})
    (name,) = errors
    assert name.split("[")[0] == field
    assert said in errors[name]


async def test_every_fault_of_a_request_is_told_at_once(engine: Engine) -> None:
    assert set(await refused(engine, 422, {"limit": 0, "customer": 1, "wat": 1})) == {
        "limit",
        "customer",
        "wat",
    }


async def test_a_required_field_that_is_missing_is_named(shop: Shop) -> None:
    engine = shop.engine(shop.basket().field("store", type="string", required=True).select())
    assert await refused(engine, 422, {"customer": "1"}) == {"store": "is required"}


async def test_absent_fields_are_empty_and_defaults_hold(shop: Shop, engine: Engine) -> None:
    assert len((await engine.ask())["recommendations"]) == 6
    assert shop.models["item-cooccurrence"].calls[0].columns == {"cart": [[]]}
    assert shop.models["buy-it-again"].calls[0].columns == {"customer": [""]}


async def test_an_integer_may_be_written_as_a_number_without_a_fraction(engine: Engine) -> None:
    assert len((await engine.ask(**CART, limit=2.0))["recommendations"]) == 2


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b'"cart"',
        b"null",
        b"{",
        b'{"limit": NaN}',
        b'{"limit": 1e999}',
        b'{"limit": Infinity}',
        b'{"customer": "\xff"}',
        b'{"customer": "\\ud800"}',
        b'{"limit": 1, "limit": 2}',
        b'{"limit" : 1, "limit":2}',
        b'{"cart": [], "cart": ["Milk"]}',
        b'{"li\\u006dit": 1, "limit": 2}',
        b'{"cart": [{"a": 1, "a": 2}]}',
        b'{"customer": ' + b"[" * 10_000 + b"]" * 10_000 + b"}",
        b"{" + b",".join(b'"%d": 1' % n for n in range(5000)) + b"}",
        b"\xef\xbb\xbf{}",
    ],
    ids=lambda body: body[:24].decode("latin-1"),
)
async def test_a_body_that_is_no_sound_json_object_is_refused(engine: Engine, body: bytes) -> None:
    started = time.monotonic()
    await refused(engine, 400, body)
    assert time.monotonic() - started < 0.5


async def test_quotes_and_escapes_in_values_are_no_doubled_keys(engine: Engine) -> None:
    response = await engine.send(
        b'{"customer": "a\\"b\\\\\\"c", "store": "\\u0033\\u0033\\u0030", "cart": ["Milk"]}'
    )
    assert response.status_code == 200
    assert response.json()["customer"] == 'a"b\\"c'


async def test_a_body_over_the_limit_is_refused(shop: Shop) -> None:
    engine = shop.engine(shop.basket().select().with_(limits={"bodyBytes": 256}))
    response = await engine.send(b'{"customer": "' + b"x" * 300 + b'"}')
    assert response.status_code == 413
    assert response.json()["detail"].startswith("The body is larger than 256 bytes: send shorter lists")


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"content-type": "text/plain"}, 415),
        ({"content-type": "application/vnd.bentoml+pickle"}, 415),
        ({"content-encoding": "gzip"}, 415),
        ({"host": "a b"}, 400),
        ({"host": "graph/../x"}, 400),
        ({"content-type": "application/json; charset=utf-8"}, 200),
    ],
)
async def test_headers_decide_as_they_should(engine: Engine, headers: dict[str, str], status: int) -> None:
    response = await engine.send(json.dumps(CART).encode(), **headers)
    assert response.status_code == status


@pytest.mark.parametrize("given", ["a b", "x" * 65, "a\tb", "é"])
async def test_a_request_id_that_could_do_harm_is_made_anew(engine: Engine, given: str) -> None:
    response = await engine.send(b"{}", **{"x-request-id": given.encode("latin-1")})  # type: ignore[arg-type]
    assert response.headers["x-request-id"] != given
    assert response.json()["request_id"] == response.headers["x-request-id"]


@pytest.mark.parametrize(
    "trace", ["nonsense", "00-zz", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01, x"]
)
async def test_a_trace_that_is_none_is_not_passed_on(shop: Shop, engine: Engine, trace: str) -> None:
    assert (await engine.send(b"{}", traceparent=trace)).status_code == 200
    assert "traceparent" not in shop.models["item-cooccurrence"].calls[0].headers


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/livez", 200),
        ("GET", "/readyz", 200),
        ("GET", "/metrics", 200),
        ("GET", "/-/revision", 200),
        ("GET", "/openapi.json", 200),
        ("GET", "/docs", 200),
        ("GET", "/", 200),
        ("POST", "/docs", 405),
        ("POST", "/livez", 405),
        ("GET", "/basket", 405),
        ("PUT", "/basket", 405),
        ("GET", "/nothing", 404),
        ("POST", "/basket/", 404),
        ("POST", "//basket", 404),
        ("POST", "/%62asket", 404),
        ("POST", "/x/../basket", 404),
        ("POST", "/basket%2e", 404),
        ("POST", "/x/metrics", 404),
        ("GET", "/metrics/../basket", 404),
    ],
)
async def test_a_path_is_compared_whole(engine: Engine, method: str, path: str, status: int) -> None:
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"{}"}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "method": method,
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "headers": [(b"host", b"graph"), (b"x-http-method-override", b"POST")],
    }
    await engine.app(scope, receive, send)
    assert sent[0]["status"] == status


@pytest.mark.parametrize("query", ["explain=yes", "explian=true", "explain=true&x=1", "x"])
async def test_an_unknown_query_parameter_is_refused(engine: Engine, query: str) -> None:
    async with engine.client() as client:
        response = await client.post(f"/basket?{query}", json=CART)
    assert response.status_code == 422


async def test_more_requests_than_allowed_are_told_to_come_back(shop: Shop) -> None:
    shop.models["buy-it-again"].behaviour, shop.models["buy-it-again"].delay = "slow", 0.3
    engine = shop.engine(
        shop.graph().recall("again", "buy-it-again").select().with_(limits={"concurrency": 2})
    )
    responses = await asyncio.gather(*(engine.post(CART) for _ in range(5)))
    assert sorted(response.status_code for response in responses) == [200, 200, 503, 503, 503]
    refused = next(response for response in responses if response.status_code == 503)
    assert refused.headers["retry-after"] == "1"
    assert (await engine.post(CART)).status_code == 200


def scope_of(body: bytes) -> dict[str, Any]:
    headers = [(b"host", b"graph"), (b"content-length", b"%d" % len(body))]
    return {
        "type": "http", "method": "POST", "path": "/basket", "raw_path": b"/basket", "query_string": b"",
        "headers": headers,
    }  # fmt: skip


async def test_clients_that_leave_take_their_upstream_calls_with_them(shop: Shop) -> None:
    shop.models["buy-it-again"].behaviour = "hangs"
    graph = shop.graph().recall("together", "item-cooccurrence").recall("again", "buy-it-again").select()
    engine = shop.engine(graph.with_(deadline="1m", limits={"concurrency": 500}))
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def ask_and_leave() -> None:
        messages = iter([{"type": "http.request", "body": b"{}"}, {"type": "http.disconnect"}])

        async def receive() -> dict[str, Any]:
            return next(messages)

        await engine.app(scope_of(b"{}"), receive, send)

    before = len(asyncio.all_tasks())
    async with asyncio.timeout(10):
        await asyncio.gather(*(ask_and_leave() for _ in range(300)))
    await asyncio.sleep(0.2)
    assert sent == []
    assert engine.counted("graph_requests_total", graph="basket", code="499") == 300
    # The upstream's own tasks, one a connection, are all that may be left.
    assert len(asyncio.all_tasks()) - before <= sum(model.open for model in shop.models.values())
    assert shop.models["buy-it-again"].open == 0
    assert (await engine.post({"limit": 0})).status_code == 422


async def test_a_body_that_does_not_arrive_is_given_up(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attended, "BODY_SECONDS", 0.1)
    sent: list[Any] = []

    async def receive() -> dict[str, Any]:
        await asyncio.sleep(60)
        raise AssertionError

    async def send(message: Any) -> None:
        sent.append(message)

    async with asyncio.timeout(5):
        await engine.app(scope_of(b"{}"), receive, send)
    assert sent[0]["status"] == 408
    assert (b"connection", b"close") in sent[0]["headers"]


async def test_nothing_a_model_thinks_in_is_public(engine: Engine) -> None:
    response = await engine.post({**CART, "limit": 50}, explain="true")
    catalogue_keys = {"1", "2", "3", "4", "5", "6", "7", "8"}

    def values(node: Any) -> Any:
        if isinstance(node, dict):
            for value in node.values():
                yield from values(value)
        elif isinstance(node, list):
            assert not node or not isinstance(node[0], int | float)
            for value in node:
                yield from values(value)
        else:
            yield node

    assert not catalogue_keys & {value for value in values(response.json()) if isinstance(value, str)}


async def test_the_series_stay_few_whatever_is_asked(engine: Engine) -> None:
    await engine.post(CART)
    await engine.get("/nothing")

    async def series() -> int:
        return len((await engine.get("/metrics")).text.splitlines())

    await engine.post({"nope": 1})
    before = await series()
    for n in range(200):
        await engine.get(f"/path-{n}")
        await engine.post({f"field_{n}": n})
        await engine.post({"customer": f"c{n}", "cart": ["Milk"]})
    assert await series() == before
    assert engine.counted("graph_requests_total", graph="basket", code="200") == 201
    assert engine.counted("graph_requests_total", graph="basket", code="422") == 201


async def test_the_revision_is_told_in_a_header_and_on_its_page(engine: Engine) -> None:
    response = await engine.post(CART)
    page = (await engine.get("/-/revision")).json()
    assert page == {"serving": response.headers["endcap-revision"], "rejected": None}
