# SPDX-License-Identifier: Apache-2.0
"""What a sidecar gets over: a cluster that is gone, a fault while its configuration is taken, a quiet log."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import httpx
from feature_sidecars import Sidecar, ask, config_of, parsed, put, sidecar, start
from redis_servers import redis_cluster, redis_server


def eventually(holds: Callable[[], object], features: Sidecar, seconds: float = 30) -> None:
    until = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < until, features.log[-3000:]
        time.sleep(0.05)


SERVED = {
    "step": "what", "bundle": "product", "digest": "d", "keys": {"product_id": ["1"]},
    "columns": {"views_1h": [3]}, "statuses": {"views_1h": ["PRESENT"]},
}  # fmt: skip


def test_what_was_served_reaches_a_cluster_that_was_gone_for_a_while(tmp_path):
    with redis_cluster(tmp_path / "redis", appendonly="yes", appendfsync="no") as cluster:
        config = config_of(cluster.url, cluster=True)
        with sidecar(config, tmp_path) as features:
            for node in cluster.nodes:
                node.stop()
            body = {"request_id": "r1", "time_ms": 1, "served": [SERVED]}
            assert features.post("/v1/records", body).status_code == 202
            eventually(lambda: "Records wait for the store" in features.log, features)
            for node in cluster.nodes:
                node.start()
            log = f"{config['stores']['default']['prefix']}:served"
            eventually(lambda: _length(cluster, log) == 1, features)


def _length(cluster, stream: str) -> int:
    try:
        with cluster.client() as client:
            return int(client.xlen(stream))
    except Exception:  # noqa: BLE001 (a cluster that is not whole yet says so in many ways)
        return 0


def test_a_fault_while_it_is_configured_is_told_and_got_over(tmp_path):
    with redis_server(tmp_path / "redis") as redis:
        features = start(config_of("nothing://that.is.known"), tmp_path)
        try:
            eventually(features.socket.exists, features)
            eventually(lambda: features.get("/v1/bundles")["rejected"], features)
            told = features.get("/v1/bundles")
            assert told["rejected"]["reason"] == "Failed"
            assert "scheme" in told["rejected"]["message"]
            answer = httpx.get(f"{features.url}/readyz")
            assert (answer.status_code, answer.json()["rejected"]) == (503, told["rejected"])
            put(features.directory, config_of(redis.url))
            eventually(lambda: httpx.get(f"{features.url}/readyz").status_code == 200, features)
            assert features.get("/v1/bundles")["rejected"] is None
        finally:
            features.process.kill()
            features.process.wait(10)


def test_a_sidecar_that_starts_beside_a_bad_revision_knows_the_bundles_of_the_last_good_one(tmp_path):
    with redis_server(tmp_path / "redis") as redis:
        good, newer, newest = (_described(config_of(redis.url), f"as of {number}") for number in range(3))
        digests = [parsed(each).contract("product").digest for each in (good, newer, newest)]
        put(tmp_path / "features", good)
        (tmp_path / "features" / "features.json").rename(tmp_path / "features" / "last-good-features.json")
        with sidecar(newer, tmp_path) as features:
            assert features.get("/v1/bundles")["known"]["product"] == [digests[1], digests[0]]
            put(features.directory, newest)
            eventually(lambda: features.get("/v1/bundles")["bundles"]["product"] == digests[2], features)
            for digest in digests:  # the edit before is still on its way to some, and the good one serves
                (found,) = features.lookup(ask("product", digest, product_id=["1"]))
                assert found["digest"] == digest


def _described(config: dict[str, Any], description: str) -> dict[str, Any]:
    product = {**config["bundles"]["product"], "description": description}
    return {**config, "bundles": {**config["bundles"], "product": product}}


def test_connections_with_a_password_say_nothing(tmp_path):
    with redis_server(tmp_path / "redis", requirepass="secret") as redis:
        secret = tmp_path / "secrets" / "shop-store"
        secret.mkdir(parents=True)
        (secret / "password").write_text("secret")
        redis.connect["password"] = "secret"  # noqa: S105 (of a test)
        with sidecar(config_of(redis.url, secret="shop-store"), tmp_path) as features:  # noqa: S106 (its name)
            eventually(lambda: '"ready"' in httpx.get(f"{features.url}/readyz").text, features)
            assert [line for line in features.lines if line["level"] != "info"] == []
