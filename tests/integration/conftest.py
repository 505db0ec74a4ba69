# SPDX-License-Identifier: Apache-2.0
"""Servers that the fetcher's and the model store's tests share."""

import pytest
from artefact_fetches import QUICK, secret
from artefact_origins import S3Server, origin, s3_server

from endcap_cli.stores import S3Store
from endcap_runtime.artefacts import Policy


@pytest.fixture
def server():
    with origin() as running:
        yield running


@pytest.fixture
def policy(tmp_path, server) -> Policy:
    return Policy(
        allowed_hosts=frozenset({f"127.0.0.1:{server.port}", f"models.test:{server.port}"}),
        secrets_dir=tmp_path / "secrets",
        limits=QUICK,
    )


@pytest.fixture(scope="module")
def s3(tmp_path_factory):
    with s3_server(tmp_path_factory.mktemp("s3") / "buckets") as running:
        (running.folder / "models").mkdir()
        yield running


@pytest.fixture
def store(s3: S3Server) -> S3Store:
    return S3Store.at(s3.endpoint, s3.access, s3.secret)


@pytest.fixture
def s3_policy(s3: S3Server, tmp_path) -> Policy:
    policy = Policy(s3_endpoint=s3.endpoint, secrets_dir=tmp_path / "secrets", limits=QUICK)
    secret(policy, "s3", {"accessKey": s3.access, "secretKey": s3.secret})
    return policy
