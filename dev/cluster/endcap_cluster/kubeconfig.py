# SPDX-License-Identifier: Apache-2.0
"""Kubeconfig files with the certificates inside, so that a file can be copied anywhere."""

import base64
from pathlib import Path

import yaml

from endcap_cluster.pki import Authority, Pair


def write(path: Path, server: str, authority: Authority, client: Pair) -> None:
    """Write a kubeconfig for `client` against `server` (a URL), readable by its owner only."""
    path.touch(mode=0o600)
    path.write_text(yaml.safe_dump(_content(server, authority, client), sort_keys=False))


def _content(server: str, authority: Authority, client: Pair) -> dict[str, object]:
    name = "endcap"
    cluster = {"server": server, "certificate-authority-data": _encoded(authority.pair.certificate)}
    user = {
        "client-certificate-data": _encoded(client.certificate),
        "client-key-data": _encoded(client.key),
    }
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": name, "cluster": cluster}],
        "users": [{"name": name, "user": user}],
        "contexts": [{"name": name, "context": {"cluster": name, "user": name}}],
        "current-context": name,
    }


def _encoded(path: Path) -> str:
    return base64.b64encode(path.read_bytes()).decode()
