# SPDX-License-Identifier: Apache-2.0
"""A signed request for an object of the platform's S3 endpoint.

botocore signs (Signature Version 4, path style); our own client sends, because botocore would follow
redirects, read credentials from wherever the pod may have some, and choose the endpoint itself.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from urllib.parse import quote

from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from endcap_runtime.artefacts.download import Request
from endcap_runtime.artefacts.errors import refused
from endcap_runtime.artefacts.urls import Url, parse_url

_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")


def bucket_and_key(uri: str) -> tuple[str, str]:
    """`s3://bucket/some/key` taken apart; ArtefactRefused for names that S3 or a path would misread."""
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    segments = key.split("/")
    if not _BUCKET.fullmatch(bucket) or not key or not key.isprintable() or {"", ".", ".."} & set(segments):
        raise refused("the URI must be s3://bucket/key, without empty, '.' or '..' segments")
    return bucket, key


def object_request(uri: str, endpoint: str | None, secret: Mapping[str, str] | None) -> Request:
    """A GET of the object at `uri`, signed with the secret's keys or, without a secret, anonymous."""
    bucket, key = bucket_and_key(uri)
    url = _object_url(endpoint, bucket, key)
    listed = frozenset({f"{url.bracketed}:{url.port}"})
    return Request(url, listed=listed, credentials={} if secret is None else _signed(url, secret))


def _object_url(endpoint: str | None, bucket: str, key: str) -> Url:
    if endpoint is None:
        raise refused("the platform has no S3 endpoint: it is set when Endcap is installed")
    return parse_url(f"{endpoint.rstrip('/')}/{bucket}/{quote(key, safe='/-._~')}")


def _signed(url: Url, secret: Mapping[str, str]) -> dict[str, str]:
    request = AWSRequest(method="GET", url=url.text, headers={"Host": url.authority})
    credentials = Credentials(
        required(secret, "accessKey"), required(secret, "secretKey"), secret.get("sessionToken")
    )
    S3SigV4Auth(credentials, "s3", secret.get("region", "us-east-1")).add_auth(request)
    return {name: value for name, value in request.headers.items() if name.lower() != "host"}


def required(secret: Mapping[str, str], key: str) -> str:
    try:
        return secret[key]
    except KeyError:
        raise refused(f"the Secret has no key {key!r}: add it") from None
