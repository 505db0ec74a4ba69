# SPDX-License-Identifier: Apache-2.0
"""Where versions of models are kept: an S3 endpoint, or a folder that stands for one.

Both know one way of writing: a key that exists is never written again, also not by two people at once.
"""

from __future__ import annotations

import base64
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import botocore.session
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

if TYPE_CHECKING:
    from botocore.client import BaseClient

_DIGEST = "sha256"


class StoreError(Exception):
    """A store that cannot do what was asked; the message says why and what to do, without credentials."""


@dataclass(frozen=True)
class Entry:
    """An object of a store; `sha256` is None where another tool put it there without its digest."""

    key: str
    bytes: int
    modified: datetime
    sha256: str | None


class Store(Protocol):
    """What a push and a listing need of a store."""

    def put_new(self, bucket: str, key: str, file: Path, sha256: str) -> bool:
        """Store a file under a new key; False, and nothing is written, if the key exists."""

    def digest(self, bucket: str, key: str) -> str:
        """The SHA-256 of an object that exists."""

    def entries(self, bucket: str, prefix: str) -> Iterator[Entry]:
        """The objects whose keys begin with `prefix`."""


def store_from(environment: Mapping[str, str]) -> Store:
    """The store that ENDCAP_LOCAL_STORE (a folder) or ENDCAP_S3_ENDPOINT and the AWS_* variables name."""
    if folder := environment.get("ENDCAP_LOCAL_STORE"):
        return LocalStore(Path(folder))
    endpoint = environment.get("ENDCAP_S3_ENDPOINT")
    if not endpoint:
        raise StoreError("no store: set ENDCAP_S3_ENDPOINT (an S3 server) or ENDCAP_LOCAL_STORE (a folder)")
    try:
        access, secret = environment["AWS_ACCESS_KEY_ID"], environment["AWS_SECRET_ACCESS_KEY"]
    except KeyError as error:
        raise StoreError(f"no credentials for the S3 server: set {error.args[0]}") from None
    region = environment.get("AWS_REGION", "us-east-1")
    return S3Store.at(endpoint, access, secret, region, environment.get("AWS_SESSION_TOKEN"))


@dataclass(frozen=True)
class LocalStore:
    """A folder with a folder a bucket, as `endcap run` reads it."""

    folder: Path

    def put_new(self, bucket: str, key: str, file: Path, sha256: str) -> bool:  # noqa: ARG002  (computed on demand)
        target = self.folder / bucket / key
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".endcap-", dir=self.folder) as scratch:
            complete = Path(scratch) / "complete"
            shutil.copyfile(file, complete)
            try:
                os.link(complete, target)
            except FileExistsError:
                return False
        return True

    def digest(self, bucket: str, key: str) -> str:
        return file_digest(self.folder / bucket / key)

    def entries(self, bucket: str, prefix: str) -> Iterator[Entry]:
        root = self.folder / bucket
        for file in sorted(root.rglob("*")):
            key = file.relative_to(root).as_posix()
            if file.is_file() and key.startswith(prefix):
                facts = file.stat()
                yield Entry(
                    key, facts.st_size, datetime.fromtimestamp(facts.st_mtime, UTC), file_digest(file)
                )


def file_digest(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


@dataclass(frozen=True)
class S3Store:
    """An S3 endpoint; a version's digest is kept in its metadata."""

    endpoint: str
    client: BaseClient

    @classmethod
    def at(
        cls, endpoint: str, access: str, secret: str, region: str = "us-east-1", token: str | None = None
    ) -> S3Store:
        """The store behind an endpoint such as `https://s3.example`, addressed by path."""
        config = Config(
            s3={"addressing_style": "path"}, retries={"max_attempts": 4}, connect_timeout=5, read_timeout=60
        )
        client = botocore.session.get_session().create_client(
            "s3",
            region_name=region,
            endpoint_url=endpoint,
            config=config,
            aws_access_key_id=access,
            aws_secret_access_key=secret,
            aws_session_token=token,
        )
        return cls(endpoint, client)

    def make_bucket(self, bucket: str) -> None:
        """Create a bucket unless it is there."""
        client: Any = self.client
        if bucket not in {known["Name"] for known in client.list_buckets()["Buckets"]}:
            self._call("create_bucket", Bucket=bucket)

    def put_new(self, bucket: str, key: str, file: Path, sha256: str) -> bool:
        # Some servers hold files that they do not count for the condition below.
        if self._exists(bucket, key):
            return False
        checksum = base64.b64encode(bytes.fromhex(sha256)).decode()
        with file.open("rb") as body:
            try:
                self._call(
                    "put_object",
                    Bucket=bucket,
                    Key=key,
                    Body=body,
                    IfNoneMatch="*",
                    ChecksumSHA256=checksum,
                    Metadata={_DIGEST: sha256},
                )
            except _Exists:
                return False
        return True

    def _exists(self, bucket: str, key: str) -> bool:
        page = self._call("list_objects_v2", Bucket=bucket, Prefix=key, MaxKeys=1)
        return any(item["Key"] == key for item in page.get("Contents", ()))

    def digest(self, bucket: str, key: str) -> str:
        known = self._known_digest(bucket, key)
        if known is not None:
            return known
        hashing = hashlib.sha256()
        for piece in self._call("get_object", Bucket=bucket, Key=key)["Body"].iter_chunks(1 << 20):
            hashing.update(piece)
        return hashing.hexdigest()

    def entries(self, bucket: str, prefix: str) -> Iterator[Entry]:
        more: dict[str, str] = {}
        while True:
            page = self._call("list_objects_v2", Bucket=bucket, Prefix=prefix, **more)
            for item in page.get("Contents", ()):
                key = item["Key"]
                yield Entry(key, item["Size"], item["LastModified"], self._known_digest(bucket, key))
            if not page.get("IsTruncated"):
                return
            more = {"ContinuationToken": page["NextContinuationToken"]}

    def _known_digest(self, bucket: str, key: str) -> str | None:
        metadata: Mapping[str, str] = self._call("head_object", Bucket=bucket, Key=key)["Metadata"]
        return metadata.get(_DIGEST)

    def _call(self, operation: str, **arguments: Any) -> Any:
        try:
            return getattr(self.client, operation)(**arguments)
        except ClientError as error:
            raise _explained(error, self.endpoint, arguments["Bucket"]) from error
        except BotoCoreError as error:
            raise StoreError(f"the S3 server {self.endpoint} does not answer: {error}") from error


class _Exists(Exception):
    """The key is taken."""


def _explained(error: ClientError, endpoint: str, bucket: str) -> Exception:
    code = error.response["Error"].get("Code", "unknown")
    if code in {"PreconditionFailed", "ConditionalRequestConflict", "412"}:
        return _Exists()
    if code == "NoSuchBucket":
        return StoreError(f"the S3 server {endpoint} has no bucket {bucket!r}: create it first")
    return StoreError(
        f"the S3 server {endpoint} refuses ({code}): {error.response['Error'].get('Message', '')}"
    )
