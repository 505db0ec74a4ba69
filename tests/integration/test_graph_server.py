# SPDX-License-Identifier: Apache-2.0
"""The graph server as a process: how it starts, follows its configuration, loses its client, and ends."""

from __future__ import annotations

import asyncio
import json
import signal
import socketserver
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import httpx
import pytest
from graphs import Graph, GraphServer, put, serving, start, write_catalogue
from model_servers import free_port
from shop import Shop, products

CART = {"customer": "1467", "cart": ["Paper plates"], "store": "330"}
PATIENCE = 20.0


@pytest.fixture
async def shop(tmp_path: Path) -> AsyncIterator[Shop]:
    async with Shop(tmp_path / "store") as shop:
        yield shop


@contextmanager
def running(work: Path, environ: dict[str, str] | None = None) -> Iterator[GraphServer]:
    """A server on `work`, whatever its configuration; ended with the block."""
    server = start(work, work / "store", environ)
    try:
        yield server
    finally:
        if server.process.poll() is None:
            server.process.kill()
        server.process.wait(10)


async def eventually(holds: Callable[[], Awaitable[Any]], server: GraphServer) -> Any:
    """What `holds` returns once it is true; connections may be refused meanwhile."""
    for _ in range(int(PATIENCE / 0.05)):
        try:
            if found := await holds():
                return found
        except httpx.TransportError:
            assert server.process.poll() is None, server.log
        await asyncio.sleep(0.05)
    raise AssertionError(server.log[-3000:])


async def get(server: GraphServer, path: str) -> httpx.Response:
    async with httpx.AsyncClient() as client:
        return await client.get(f"{server.url}{path}")


async def ask(server: GraphServer, body: Any = CART) -> httpx.Response:
    async with httpx.AsyncClient(timeout=10) as client:
        return await client.post(f"{server.url}/basket", json=body)


async def ready(server: GraphServer) -> None:
    async def holds() -> bool:
        return (await get(server, "/readyz")).status_code == 200

    await eventually(holds, server)


async def serves(server: GraphServer, revision: str) -> None:
    async def holds() -> bool:
        return (await get(server, "/-/revision")).json() == {"serving": revision, "rejected": None}

    await eventually(holds, server)


async def rejected(server: GraphServer, reason: str) -> dict[str, Any]:
    """The page of the revision once it tells of a refusal for this reason."""

    async def holds() -> dict[str, Any] | None:
        page: dict[str, Any] = (await get(server, "/-/revision")).json()
        return page if page["rejected"] and page["rejected"]["reason"] == reason else None

    return await eventually(holds, server)


STANDS = Graph().recall("together", "item-cooccurrence").with_(fallback=[{"catalogue": {"orderBy": "sold"}}])
STANDS = STANDS.model("item-cooccurrence", "http://127.0.0.1:9")


@pytest.fixture(scope="module")
def standing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GraphServer]:
    """A server whose model is never there and whose catalogue answers: enough to ask how it takes what it is sent."""
    with serving(STANDS.select("1"), tmp_path_factory.mktemp("standing")) as server:
        yield server


def standing_graph(server: GraphServer) -> Graph:
    """Its graph without a select, over the catalogue that it has."""
    wanted = json.loads((server.directory / "graph.json").read_text())["spec"]["catalogue"]
    return STANDS.items_at(wanted["uri"], wanted["sha256"])


def broken(graph: Graph) -> Graph:
    return graph.keep("odd", "candidate.colour == 'red'").select()


async def test_an_edit_is_served_without_a_restart_and_without_a_failed_request(
    shop: Shop, tmp_path: Path
) -> None:
    before, after = (
        shop.basket().select("1"),
        shop.basket().drop("ice", "candidate.name == 'Ice cream'").select("1"),
    )
    put(tmp_path / "graph", before.value())
    with running(tmp_path) as server:
        await ready(server)
        pid, statuses, stop = server.process.pid, [], asyncio.Event()

        async def load() -> None:
            async with httpx.AsyncClient(timeout=10) as client:
                while not stop.is_set():
                    statuses.append((await client.post(f"{server.url}/basket", json=CART)).status_code)

        loads = [asyncio.create_task(load()) for _ in range(2)]
        for graph in (after, before, after):
            server.write(graph.value())
            await serves(server, graph.config().revision)
        stop.set()
        await asyncio.gather(*loads)
        assert set(statuses) == {200}
        assert products((await ask(server)).json()) == ["Plastic cutlery"]
        assert server.process.pid == pid
        assert server.process.poll() is None


async def test_the_kubelets_way_of_swapping_a_directory_is_seen(shop: Shop, tmp_path: Path) -> None:
    before, after = shop.basket().select("1"), shop.basket().select("2")
    directory = tmp_path / "graph"
    put(directory / "..1", before.value())
    (directory / "..data").symlink_to("..1")
    (directory / "graph.json").symlink_to("..data/graph.json")
    with running(tmp_path) as server:
        await ready(server)
        put(directory / "..2", after.value())
        (directory / "..data_tmp").symlink_to("..2")
        (directory / "..data_tmp").rename(directory / "..data")
        await serves(server, after.config().revision)


@pytest.mark.parametrize(
    ("spoil", "reason", "said"),
    [
        (broken, "InvalidSpec", "candidate.colour"),
        (lambda g: g.recall("again", "nobody").select(), "InvalidSpec", "there is no ModelDeployment nobody"),
        (lambda g: g.select().items_at("s3://models/catalogue/2.parquet", "0" * 64), "ArtefactNotFound", "2.parquet"),
        (lambda g: g.select().items_at("s3://models/catalogue/1.parquet", "0" * 64), "DigestMismatch", "SHA-256"),
        (lambda g: g.select().items_at("http://169.254.169.254/x.parquet", "0" * 64), "ArtefactRefused", "169.254"),
    ],
    ids=["expression", "model", "catalogue", "digest", "address"],
)  # fmt: skip
async def test_a_bad_revision_is_refused_with_its_reason_and_the_old_one_serves_on(
    standing: GraphServer, spoil: Callable[[Graph], Graph], reason: str, said: str
) -> None:
    base = standing_graph(standing)
    good, bad = base.select("1"), spoil(base)
    standing.write(bad.value())
    page = await rejected(standing, reason)
    assert page["serving"] == good.config().revision
    assert page["rejected"]["revision"] == bad.config().revision
    assert said in page["rejected"]["message"]
    assert (await ask(standing)).status_code == 200
    assert (await get(standing, "/readyz")).status_code == 200
    standing.write(good.value())
    await serves(standing, good.config().revision)


@pytest.mark.parametrize("text", ["{", '{"name": "basket"}', "", "[1]"])
async def test_a_configuration_that_is_none_is_refused(standing: GraphServer, text: str) -> None:
    good = standing_graph(standing).select("1")
    standing.write(text)
    page = await rejected(standing, "InvalidSpec")
    assert page["serving"] == good.config().revision
    assert page["rejected"]["revision"] is None
    lines = [json.loads(line) for line in standing.log.splitlines()]
    assert any(line["message"] == "Revision refused" and line["reason"] == "InvalidSpec" for line in lines)
    standing.write(good.value())
    await serves(standing, good.config().revision)


async def test_a_catalogue_that_is_not_as_declared_is_refused(shop: Shop, tmp_path: Path) -> None:
    digest = write_catalogue(tmp_path / "store/models/catalogue/2.parquet", [{"id": "1", "name": "Milk"}])
    put(
        tmp_path / "graph", shop.basket().select().items_at("s3://models/catalogue/2.parquet", digest).value()
    )
    with running(tmp_path) as server:
        page = await rejected(server, "CatalogueInvalid")
        assert page["serving"] is None
        assert "category" in page["rejected"]["message"]
        assert (await get(server, "/livez")).status_code == 200
        assert (await get(server, "/readyz")).status_code == 503
        assert (await get(server, "/docs")).status_code == 503
        assert (await ask(server)).status_code == 503


async def test_a_pod_that_starts_with_a_bad_revision_serves_the_last_good_one(
    shop: Shop, tmp_path: Path
) -> None:
    good, bad = shop.basket().select("1"), broken(shop.basket())
    put(tmp_path / "graph", bad.value())
    put(tmp_path / "graph", good.value(), "last-good.json")
    with running(tmp_path) as server:
        await ready(server)
        page = (await get(server, "/-/revision")).json()
        assert page["serving"] == good.config().revision
        assert page["rejected"]["revision"] == bad.config().revision
        better = shop.basket().select("2")
        server.write(better.value())
        await serves(server, better.config().revision)


async def test_a_catalogue_in_memory_is_not_fetched_again(shop: Shop, tmp_path: Path) -> None:
    put(tmp_path / "graph", shop.basket().select("1").value())
    with running(tmp_path) as server:
        await ready(server)
        (tmp_path / "store/models/catalogue/1.parquet").unlink()
        edited = shop.basket().select("2")
        server.write(edited.value())
        await serves(server, edited.config().revision)
        assert leftovers(tmp_path) == []


def leftovers(work: Path) -> list[Path]:
    return list(work.glob("endcap-catalogue-*"))


class _Store(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    content: bytes


class _Served(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("content-length", str(len(self.server.content)))  # type: ignore[attr-defined]
        self.end_headers()
        self.wfile.write(self.server.content)  # type: ignore[attr-defined]

    def log_message(self, *_: object) -> None: ...


@contextmanager
def stored(port: int, content: bytes) -> Iterator[None]:
    """An HTTP server that has one file at every path."""
    with _Store(("127.0.0.1", port), _Served) as store:
        store.content = content
        thread = threading.Thread(target=store.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield
        finally:
            store.shutdown()
            thread.join()


async def test_a_store_that_is_down_is_asked_again_until_it_is_back(shop: Shop, tmp_path: Path) -> None:
    content = (tmp_path / "store/models/catalogue/1.parquet").read_bytes()
    port = free_port()
    graph = shop.basket().select("1")
    graph = graph.items_at(f"http://127.0.0.1:{port}/1.parquet", graph.catalogue["sha256"])
    put(tmp_path / "graph", graph.value())
    with running(tmp_path, {"ENDCAP_ALLOWED_HOSTS": f"127.0.0.1:{port}"}) as server:
        page = await rejected(server, "ArtefactUnreachable")
        assert page["rejected"]["revision"] == graph.config().revision
        with stored(port, content):
            await serves(server, graph.config().revision)


async def test_a_client_that_leaves_takes_its_upstream_calls_with_it(shop: Shop, tmp_path: Path) -> None:
    for name in ("item-cooccurrence", "buy-it-again"):
        shop.models[name].behaviour = "hangs"
    graph = shop.graph().recall("together", "item-cooccurrence").recall("again", "buy-it-again").select()
    put(tmp_path / "graph", graph.with_(deadline="1m").value())
    with running(tmp_path) as server:
        await ready(server)
        with pytest.raises(httpx.ReadTimeout):
            async with httpx.AsyncClient(timeout=0.3) as client:
                await client.post(f"{server.url}/basket", json=CART)

        async def both_hung_up() -> bool:
            return [shop.models[n].hung_up for n in ("item-cooccurrence", "buy-it-again")] == [1, 1]

        await eventually(both_hung_up, server)
        metrics = (await get(server, "/metrics")).text
        assert 'endcap_graph_requests_total{code="499",graph="basket"} 1.0' in metrics


async def test_on_sigterm_it_is_unready_first_and_finishes_what_it_began(shop: Shop, tmp_path: Path) -> None:
    shop.models["buy-it-again"].behaviour, shop.models["buy-it-again"].delay = "slow", 1.0
    put(tmp_path / "graph", shop.graph().recall("again", "buy-it-again").select().value())
    with running(tmp_path, {"ENDCAP_DRAIN_SECONDS": "0.5"}) as server:
        await ready(server)
        asked = asyncio.create_task(ask(server))
        await asyncio.sleep(0.2)
        server.process.send_signal(signal.SIGTERM)
        await asyncio.sleep(0.1)
        assert (await get(server, "/readyz")).status_code == 503
        assert (await get(server, "/livez")).status_code == 200
        assert (await asked).status_code == 200
        assert await asyncio.to_thread(server.process.wait, 20) == 0


@pytest.mark.parametrize("path", ["/schema.json", "/healthz", "/docs.json", "/static_content/x.js"])
async def test_a_path_that_is_not_the_graphs_is_404(standing: GraphServer, path: str) -> None:
    response = await get(standing, path)
    assert response.status_code == 404
    assert response.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(
    "head",
    [
        b"POST http://graph/basket HTTP/1.1\r\nhost: graph\r\ncontent-length: 2\r\n\r\n{}",
        b"POST /basket HTTP/1.1\r\nhost: graph\r\nhost: other\r\ncontent-length: 2\r\n\r\n{}",
        b"POST /basket HTTP/1.1\r\nhost: graph\r\ncontent-length: 2\r\ntransfer-encoding: chunked\r\n\r\n{}",
        b"POST /basket HTTP/1.1\r\ncontent-length: 2\r\n\r\n{}",
        b"POST /basket HTTP/1.1\r\nhost: graph\r\nx-request-id: a\nb: c\r\ncontent-length: -2\r\n\r\n{}",
    ],
    ids=["absolute-form", "two-hosts", "two-lengths", "no-host", "negative-length"],
)
async def test_a_request_that_two_parties_could_read_differently_is_refused(
    standing: GraphServer, head: bytes
) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", standing.port)
    writer.write(head)
    first = await asyncio.wait_for(reader.readline(), 10)
    assert first.split(b" ")[1] == b"400"
    writer.close()
