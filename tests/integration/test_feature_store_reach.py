# SPDX-License-Identifier: Apache-2.0
"""A store over TLS, and one of several nodes whose slots move."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from feature_views import CLICKS, PREFIX, a_view, store_config, stream, windowed
from redis_servers import RedisCluster, RedisServer, redis_cluster, redis_server

from endcap_runtime.features.layout import Event, Status, Update, View
from endcap_runtime.features.store import FeatureRedis, StoreUnavailable

NOW = 1_800_000_000_000


def openssl(folder: Path, *arguments: str) -> None:
    subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """ca.crt and server.crt for 127.0.0.1, and other.crt of an authority that signed nothing."""
    folder = tmp_path_factory.mktemp("certificates")
    for name in ("ca", "other"):
        openssl(folder, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", f"{name}.key", "-out",
                f"{name}.crt", "-subj", f"/CN={name}", "-days", "2",
                "-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=critical,keyCertSign")  # fmt: skip
    openssl(folder, "req", "-newkey", "rsa:2048", "-nodes", "-keyout", "server.key", "-out", "server.csr",
            "-subj", "/CN=redis")  # fmt: skip
    (folder / "names").write_text("subjectAltName=IP:127.0.0.1\n")
    openssl(folder, "x509", "-req", "-in", "server.csr", "-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial",
            "-out", "server.crt", "-days", "2", "-extfile", "names")  # fmt: skip
    return folder


@pytest.fixture(scope="module")
def secured(certificates: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    connect = {"ssl": True, "ssl_ca_certs": str(certificates / "ca.crt")}
    options = {"tls-port": "0", "tls-auth-clients": "no", "tls-ca-cert-file": str(certificates / "ca.crt")}
    files = {
        f"tls-{kind}-file": str(certificates / f"server.{end}")
        for kind, end in (("cert", "crt"), ("key", "key"))
    }
    server = RedisServer(tmp_path_factory.mktemp("redis"), {**options, **files}, connect=connect)
    try:
        server.start()
        yield server
    finally:
        server.kill()


async def opened(url: str, folder: Path, authority: Path | None) -> FeatureRedis:
    (folder / "store").mkdir()
    if authority is not None:
        shutil.copy(authority, folder / "store" / "ca.crt")
    return await FeatureRedis.open(store_config(url, secret="store"), folder)  # noqa: S106


async def test_a_server_whose_certificate_the_secret_vouches_for_is_asked(
    secured: RedisServer, certificates: Path, tmp_path: Path
) -> None:
    store = await opened(secured.url, tmp_path, certificates / "ca.crt")
    assert await store.read([b"k"]) == [None]
    await store.aclose()


@pytest.mark.parametrize(
    "authority", ["other.crt", None], ids=["another authority", "the system's authorities"]
)
async def test_a_server_that_nobody_vouches_for_is_not(
    secured: RedisServer, certificates: Path, tmp_path: Path, authority: str | None
) -> None:
    store = await opened(secured.url, tmp_path, certificates / authority if authority else None)
    with pytest.raises(StoreUnavailable) as refused:
        await store.read([b"k"])
    assert refused.value.reason == "tls"
    await store.aclose()


async def test_a_name_that_is_not_in_the_certificate_is_refused(
    secured: RedisServer, certificates: Path, tmp_path: Path
) -> None:
    store = await opened(secured.url.replace("127.0.0.1", "localhost"), tmp_path, certificates / "ca.crt")
    with pytest.raises(StoreUnavailable, match="tls"):
        await store.read([b"k"])
    await store.aclose()


async def test_a_server_without_tls_is_not_spoken_to_in_clear(tmp_path: Path) -> None:
    with redis_server(tmp_path / "redis") as plain:
        store = await FeatureRedis.open(store_config(plain.url.replace("redis://", "rediss://")), Path())
        with pytest.raises(StoreUnavailable):
            await store.now_ms()
        await store.aclose()


# Several nodes


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisCluster]:
    with redis_cluster(tmp_path_factory.mktemp("cluster")) as running:
        yield running


def click(view: View, name: str, customer: str = "1467") -> Update:
    update = view.updates(Event(name, "shop", "click", NOW, {"customer_id": customer}), NOW)
    assert update is not None
    return update


async def clicks(store: FeatureRedis, view: View, *customers: str) -> list[Any]:
    told = view.evaluate(await store.read([view.key([customer]) for customer in customers]), NOW)
    assert set(told.statuses[0]) == {Status.PRESENT}
    return list(told.values[0])


def places(cluster: RedisCluster, key: bytes) -> tuple[int, RedisServer, RedisServer]:
    """The key's slot, the node that has it, and another."""
    with cluster.client() as client:
        slot = client.keyslot(key)
        port = client.get_node_from_key(key.decode()).port
    owner = next(node for node in cluster.nodes if node.port == port)
    return slot, owner, next(node for node in cluster.nodes if node is not owner)


async def test_entities_are_spread_and_read_in_the_order_of_asking(cluster: RedisCluster) -> None:
    store = await FeatureRedis.open(store_config(cluster.url, cluster=True), Path())
    view = a_view(stream(), windowed(CLICKS), prefix="00000001")
    customers = [str(number) for number in range(100)]
    updates = [click(view, f"{name}-{time}", name) for name in customers for time in range(int(name) % 3 + 1)]
    assert set(await store.apply(updates)) == {"APPLIED"}
    assert await clicks(store, view, *customers) == [int(name) % 3 + 1 for name in customers]
    for node in cluster.nodes:
        with node.client() as client:
            assert client.dbsize() > 10
    await store.aclose()


@pytest.mark.parametrize("storage", ["events", "tiles"])
async def test_a_slot_that_moves_loses_nothing_and_counts_nothing_twice(
    cluster: RedisCluster, storage: str
) -> None:
    store = await FeatureRedis.open(store_config(cluster.url, cluster=True), Path())
    view = a_view(stream(storage), windowed(CLICKS), prefix=f"0000000{len(storage)}")
    assert await store.apply([click(view, "before")]) == ["APPLIED"]
    slot, source, target = places(cluster, view.key(["1467"]))
    cluster.open_slot(slot, source, target)
    assert await store.apply([click(view, "before"), click(view, "opened")]) == ["DUPLICATE", "APPLIED"]
    cluster.drain_slot(slot, source, target, keys=1)
    with pytest.raises(StoreUnavailable, match="resharding"):
        await store.apply([click(view, "half")])
    cluster.drain_slot(slot, source, target)
    assert await store.apply([click(view, "half"), click(view, "drained")]) == ["APPLIED", "APPLIED"]
    cluster.close_slot(slot, target)
    assert await store.apply([click(view, name) for name in ("opened", "half", "after")]) == [
        "DUPLICATE", "DUPLICATE", "APPLIED",
    ]  # fmt: skip
    assert await clicks(store, view, "1467") == [5]
    cluster.move_slot(slot, target, source)
    await store.aclose()


async def test_the_clock_of_a_cluster_is_that_of_the_node_to_which_events_arrive(
    cluster: RedisCluster,
) -> None:
    """Nodes differ by more than a millisecond, and a window ends where the arrivals of its events are told."""
    store = await FeatureRedis.open(store_config(cluster.url, cluster=True), Path())
    _, owner, _ = places(cluster, f"{PREFIX}:events".encode())
    for node in cluster.nodes:
        with node.client() as client:
            client.config_resetstat()
    for _ in range(10):
        await store.now_ms()
    asked = []
    for node in cluster.nodes:
        with node.client() as client:
            asked.append(client.info("commandstats").get("cmdstat_time", {}).get("calls", 0))
    assert asked == [10 if node is owner else 0 for node in cluster.nodes]
    await store.aclose()


async def test_a_node_that_is_away_is_said_and_its_return_is_noticed(cluster: RedisCluster) -> None:
    store = await FeatureRedis.open(store_config(cluster.url, cluster=True), Path())
    view = a_view(stream(), windowed(CLICKS), prefix="00000009")
    _, owner, _ = places(cluster, view.key(["1467"]))
    await store.apply([click(view, "e1")])
    owner.kill()
    with pytest.raises(StoreUnavailable):
        await store.read([view.key(["1467"])])
    owner.start()
    assert await _answered(store, view) == [None]  # it kept no file
    await store.aclose()


async def _answered(store: FeatureRedis, view: View) -> list[bytes | None]:
    for _ in range(200):
        try:
            return await store.read([view.key(["1467"])])
        except StoreUnavailable:
            await asyncio.sleep(0.05)
    raise AssertionError("it did not come back")
