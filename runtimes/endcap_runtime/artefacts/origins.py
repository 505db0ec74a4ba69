# SPDX-License-Identifier: Apache-2.0
"""Where the bytes of a URI come from: one decision by scheme, each origin as a function into a sink."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TypeAlias
from urllib.parse import unquote

from endcap_runtime.artefacts.beneath import open_beneath
from endcap_runtime.artefacts.download import Client, Request, Sink
from endcap_runtime.artefacts.errors import refused
from endcap_runtime.artefacts.policy import Policy, Source, resource_name
from endcap_runtime.artefacts.s3 import bucket_and_key, object_request
from endcap_runtime.artefacts.secrets import authorization, read_secret
from endcap_runtime.artefacts.urls import parse_url

Origin: TypeAlias = Callable[[Sink], None]

_WEB = ("http://", "https://")
_PIECE = 1024 * 1024
_FILE_NAME = re.compile(r"(?!\.)[ -.0-\[\]-~]{1,128}")


def artefact_name(uri: str) -> str:
    """The file name that a URI ends in, which says what the artefact is and becomes a file on disk."""
    is_web = uri.startswith(_WEB)
    if "#" in uri or ("?" in uri and not is_web):
        raise refused(
            "the URI has a fragment, or a query where there is none: only http(s) URIs have queries"
        )
    name = uri.partition("?")[0].rpartition("/")[2]
    name = unquote(name) if is_web else name
    if not _FILE_NAME.fullmatch(name):
        raise refused("the URI must end in a file name, such as model.txt or 4.tar.gz")
    return name


def open_origin(source: Source, policy: Policy, client: Client) -> Origin:
    """The function that streams a source; ArtefactRefused for schemes and places that the policy does not allow."""
    scheme = source.uri.partition("://")[0]
    if source.uri.startswith(_WEB):
        return partial(client.get, _http_request(source, policy))
    if scheme == "s3":
        return _s3(source, policy, client)
    if scheme == "pvc":
        return partial(_copy, *_claim(source.uri, policy))
    if scheme == "file" and policy.local_store is not None:
        return partial(_copy, policy.base or policy.local_store, source.uri.removeprefix("file://"))
    raise refused(f"artefacts do not come from {scheme}://: use s3://, https:// or pvc://")


def _http_request(source: Source, policy: Policy) -> Request:
    url = parse_url(source.uri)
    credentials = authorization(url, read_secret(source.secret, policy), policy)
    return Request(url, policy.allowed_hosts, credentials, redirects=policy.limits.redirects)


def _s3(source: Source, policy: Policy, client: Client) -> Origin:
    if policy.local_store is not None:
        return partial(_copy, policy.local_store, "/".join(bucket_and_key(source.uri)))
    request = object_request(source.uri, policy.s3_endpoint, read_secret(source.secret, policy))
    return partial(client.get, request)


def _claim(uri: str, policy: Policy) -> tuple[Path, str]:
    claim, _, path = uri.removeprefix("pvc://").partition("/")
    return policy.pvc_dir / resource_name(claim, "claim"), path


def _copy(root: Path, relative: str, sink: Sink) -> None:
    with open_beneath(root, relative) as file:
        while piece := file.read(_PIECE):
            sink(piece)
