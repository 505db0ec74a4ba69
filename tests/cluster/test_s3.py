# SPDX-License-Identifier: Apache-2.0
"""The S3 server of tests without pods keeps objects for the holder of its keys, and for nobody else."""

from pathlib import Path

import boto3
import pytest
from botocore.client import BaseClient
from botocore.exceptions import ClientError
from endcap_cluster import s3


def client(store: s3.Store, secret: str) -> BaseClient:
    return boto3.client(
        "s3",
        endpoint_url=store.endpoint,
        region_name="us-east-1",
        aws_access_key_id=store.access_key,
        aws_secret_access_key=secret,
    )


def test_what_is_put_is_what_is_read(tmp_path: Path) -> None:
    with s3.loopback(tmp_path / "store") as store:
        bucket = client(store, store.secret_key)
        bucket.create_bucket(Bucket="models")
        bucket.put_object(Bucket="models", Key="ranker/1/model.bin", Body=b"weights")
        read = bucket.get_object(Bucket="models", Key="ranker/1/model.bin")["Body"].read()
    assert read == b"weights"
    assert (tmp_path / "store/buckets/models/ranker/1/model.bin").read_bytes() == b"weights"


def test_a_wrong_key_is_refused(tmp_path: Path) -> None:
    with s3.loopback(tmp_path / "store") as store, pytest.raises(ClientError, match="SignatureDoesNotMatch"):
        client(store, "wrong").list_buckets()


def test_two_servers_run_side_by_side_and_end_with_their_context(tmp_path: Path) -> None:
    with s3.loopback(tmp_path / "one") as one, s3.loopback(tmp_path / "two") as two:
        assert one.endpoint != two.endpoint
        assert one.secret_key != two.secret_key
    for store in (one, two):
        with pytest.raises(OSError, match="refused"):
            s3.http.client.HTTPConnection(store.endpoint.removeprefix("http://")).connect()
