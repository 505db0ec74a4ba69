# SPDX-License-Identifier: Apache-2.0
"""The connection to a sidecar: what may come over a socket, and how a revision and a sidecar come together."""

from __future__ import annotations

import asyncio
import json
import struct
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from graphs import GraphServer, serving
from shop import Shop, degraded, products
from shop_features import FeatureShop

from endcap_api.features_config import FeaturesConfig
from endcap_runtime.graph.sidecar import Question, Sidecar
from endcap_runtime.graph.upstream import Call, UpstreamFailed

CART = {"customer": "1467", "cart": ["Paper plates"], "store": "330"}
ASKED = [Question("customer", {"customer_id": ["1", "2"]})]


def tensor(name: str, datatype: str, shape: list[int], raw: bytes) -> tuple[dict[str, Any], bytes]:
    return {
        "name": name,
        "datatype": datatype,
        "shape": shape,
        "parameters": {"binary_data_size": len(raw)},
    }, raw


BUDGETS = tensor("0.budget", "FP64", [2], struct.pack("<2d", 1.5, 2.5))
STATUSES = tensor("0.statuses", "UINT8", [1, 2], b"\x00\x01")
TOLD: dict[str, Any] = {"0": {"digest": "d", "freshness_ms": 0, "late": False, "windows": [None]}}


def answer(*tensors: tuple[dict[str, Any], bytes], told: Any = TOLD, more: bytes = b"") -> bytes:
    head = json.dumps({"outputs": [each for each, _ in tensors], "parameters": told}).encode()
    body = head + b"".join(raw for _, raw in tensors) + more
    lines = f"inference-header-content-length: {len(head)}\r\ncontent-length: {len(body)}"
    return f"HTTP/1.1 200 OK\r\n{lines}\r\n\r\n".encode() + body


def status(code: int, body: bytes = b"") -> bytes:
    return f"HTTP/1.1 {code} X\r\ncontent-length: {len(body)}\r\n\r\n".encode() + body


BROKEN: dict[str, tuple[bytes, str]] = {
    "no HTTP": (b"220 smtp ready\r\n", "malformed"),
    "closes at once": (b"", "reset"),
    "a part": (answer(BUDGETS, STATUSES)[:-3], "reset"),
    "an error": (status(500, b'{"detail": "oh"}'), "status"),
    "a moved sidecar": (status(302), "status"),
    "no length of the head": (status(200, b"{}"), "malformed"),
    "no JSON": (status(200, b"<html>"), "malformed"),
    "no tensors": (answer(), "malformed"),
    "no statuses": (answer(BUDGETS), "malformed"),
    "statuses of other rows": (answer(BUDGETS, tensor("0.statuses", "UINT8", [1, 3], b"\x00" * 3)), "malformed"),
    "statuses of other columns": (
        answer(BUDGETS, tensor("0.statuses", "UINT8", [2, 2], b"\x00" * 4)),
        "malformed",
    ),
    "bytes too many": (answer(BUDGETS, STATUSES, more=b"x"), "malformed"),
    "a size beyond the body": (
        answer(tensor("0.budget", "FP64", [2], b""), ({**STATUSES[0], "parameters": {"binary_data_size": 99}}, b"")),
        "malformed",
    ),
    "a negative size": (
        answer(({**BUDGETS[0], "parameters": {"binary_data_size": -8}}, b""), STATUSES),
        "malformed",
    ),
    "a lookup too many": (answer(BUDGETS, STATUSES, tensor("7.x", "BOOL", [2], b"\x00\x00")), "malformed"),
    "no parameters": (answer(BUDGETS, STATUSES, told={}), "malformed"),
    "no windows": (answer(BUDGETS, STATUSES, told={"0": {**TOLD["0"], "windows": []}}), "malformed"),
    "100 MB announced": (b"HTTP/1.1 200 OK\r\ncontent-length: 100000000\r\n\r\n", "too_large"),
}  # fmt: skip


@pytest.fixture
def socket() -> Iterator[str]:
    with tempfile.TemporaryDirectory(prefix="endcap-") as folder:
        yield f"{folder}/features.sock"


@asynccontextmanager
async def listening(socket: str, reply: bytes, calls: list[bytes]) -> AsyncIterator[None]:
    """Whoever asks gets the reply and the end of the connection."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
        calls.append(await reader.readexactly(length))
        writer.write(reply)
        writer.close()

    async with await asyncio.start_unix_server(serve, socket):
        yield


@pytest.mark.parametrize("what", BROKEN)
async def test_whatever_comes_over_the_socket_is_one_kind_of_failure(what: str, socket: str) -> None:
    reply, kind = BROKEN[what]
    sidecar = Sidecar(socket)
    async with listening(socket, reply, []):
        with pytest.raises(UpstreamFailed) as failed:
            await sidecar.lookup(ASKED, Call(time.monotonic() + 5, "r"))
    assert failed.value.kind == kind
    await sidecar.aclose()


async def test_a_sound_answer_is_read_by_column(socket: str) -> None:
    sidecar, calls = Sidecar(socket), []
    async with listening(socket, answer(BUDGETS, STATUSES), calls):
        (found,) = await sidecar.lookup(ASKED, Call(time.monotonic() + 5, "r"))
    assert (found.rows, found.names, found.status("budget").tolist()) == (2, ["budget"], [0, 1])
    asked = json.loads(calls[0])
    assert 1 <= asked.pop("timeout_ms") < 5000
    assert asked == {
        "request_id": "r",
        "lookups": [{"bundle": "customer", "keys": {"customer_id": ["1", "2"]}}],
    }
    await sidecar.aclose()


@pytest.fixture
async def features(tmp_path: Path) -> AsyncIterator[FeatureShop]:
    async with FeatureShop(tmp_path / "features") as features:
        yield features


@pytest.fixture
async def shop(tmp_path: Path, features: FeatureShop) -> AsyncIterator[Shop]:
    async with Shop(tmp_path / "store", socket=features.socket) as shop:
        yield shop


def reading(shop: Shop, config: Any, feature: str) -> Any:
    return (
        shop.graph()
        .features_of(config)
        .recall("together", "item-cooccurrence")
        .looks_up("customer", "customer", entity="request.customer")
        .keep("rule", f"customer.{feature} == '' || candidate.name != ''")
        .select()
    )


async def eventually(holds: Callable[[], Any], server: GraphServer, seconds: float = 20.0) -> Any:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if found := await asyncio.to_thread(holds):
            return found
        await asyncio.sleep(0.05)
    raise AssertionError(f"{server.revision()} {server.log[-3000:]}")


async def post(server: GraphServer) -> httpx.Response:
    return await asyncio.to_thread(server.ask, CART)


async def test_a_hot_edit_of_a_bundle_is_served_once_both_have_it_and_no_request_is_without(
    shop: Shop, features: FeatureShop, tmp_path: Path
) -> None:
    """The graph's half of the ConfigMap comes first: it is asked again until the sidecar's has come, too."""
    environ = {"ENDCAP_FEATURES_SOCKET": features.socket}
    with serving(reading(shop, features.config, "segment"), tmp_path, environ) as server:
        first = server.revision()["serving"]
        renamed = {"features": [{"view": "customer-profile", "feature": "segment", "name": "kind"}]}
        value = features.value(customer=renamed)
        edited = reading(shop, FeaturesConfig.model_validate(value), "kind").items_at(**_items(server))
        server.write(edited.value())
        rejected = await eventually(lambda: server.revision()["rejected"], server)
        assert rejected["reason"] == "FeaturesUnavailable"
        assert "does not serve what this revision means by customer" in rejected["message"]
        assert (server.revision()["serving"], (await post(server)).json()["degraded"]) == (first, [])
        features.sidecar.write(value)
        await eventually(lambda: server.revision()["serving"] == edited.config().revision, server)
        assert server.revision()["rejected"] is None
        assert (await post(server)).json()["degraded"] == []


def _items(server: GraphServer) -> dict[str, str]:
    catalogue = json.loads((server.directory / "graph.json").read_text())["spec"]["catalogue"]
    return {"uri": catalogue["uri"], "sha256": catalogue["sha256"]}


async def test_a_graph_without_its_sidecar_starts_and_degrades_until_the_sidecar_comes(
    shop: Shop, features: FeatureShop, tmp_path: Path
) -> None:
    features.kill()
    environ = {"ENDCAP_FEATURES_SOCKET": features.socket}
    with serving(reading(shop, features.config, "segment"), tmp_path, environ) as server:
        answer = await post(server)
        assert (answer.status_code, list(degraded(answer.json()))) == (200, ["customer"])
        assert len(products(answer.json())) == 5
        features.restart()
        await eventually(lambda: server.ask(CART).json()["degraded"] == [], server)


async def test_a_graph_that_reads_no_features_needs_no_sidecar(shop: Shop, tmp_path: Path) -> None:
    graph = shop.graph().recall("together", "item-cooccurrence").select()
    with serving(graph, tmp_path, {"ENDCAP_FEATURES_SOCKET": "/nobody/listens/here.sock"}) as server:
        assert (await post(server)).json()["degraded"] == []
        async with httpx.AsyncClient() as client:
            metrics = await client.get(f"{server.url}/metrics")
        assert "endcap_graph_lookups_total{" not in metrics.text


async def test_records_that_wait_are_sent_before_the_graph_ends(
    shop: Shop, features: FeatureShop, tmp_path: Path
) -> None:
    environ = {"ENDCAP_FEATURES_SOCKET": features.socket}
    with serving(reading(shop, features.config, "segment"), tmp_path, environ) as server:
        for _ in range(20):
            assert (await post(server)).status_code == 200
        assert await asyncio.to_thread(server.terminate) == 0
    await features.until(lambda: len(features.served()) == 20)
