# SPDX-License-Identifier: Apache-2.0
"""The socket's file is all that leads to a sidecar."""

from __future__ import annotations

import time

from feature_sidecars import config_of, sidecar
from redis_servers import redis_server

SECONDS = 20  # ten times the goal


def test_a_socket_whose_file_was_deleted_can_be_reached_again(tmp_path):
    with redis_server(tmp_path / "redis") as redis, sidecar(config_of(redis.url), tmp_path) as features:
        before = features.get("/v1/bundles")
        for _ in range(2):
            features.socket.unlink()
            until = time.monotonic() + SECONDS
            while not features.socket.exists():
                assert time.monotonic() < until, features.log[-3000:]
                time.sleep(0.05)
            assert features.get("/v1/bundles") == before
        assert features.log.count("it is bound anew") == 2
