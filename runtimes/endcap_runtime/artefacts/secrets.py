# SPDX-License-Identifier: Apache-2.0
"""Credentials as the kubelet mounts them: a folder a Secret, a file a key."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping

from endcap_runtime.artefacts.errors import refused
from endcap_runtime.artefacts.policy import Policy, resource_name
from endcap_runtime.artefacts.urls import Url

_KEYS = ("accessKey", "secretKey", "sessionToken", "region", "username", "password", "token")


def read_secret(name: str | None, policy: Policy) -> Mapping[str, str] | None:
    """The known keys of a mounted Secret, or None when the artefact names no Secret."""
    if name is None:
        return None
    folder = policy.secrets_dir / resource_name(name, "secret")
    if not folder.is_dir():
        raise refused(f"the Secret {name!r} is not mounted: does it exist in this namespace?")
    files = (folder / key for key in _KEYS)
    return {file.name: file.read_text(encoding="utf-8").strip() for file in files if file.is_file()}


def authorization(url: Url, secret: Mapping[str, str] | None, policy: Policy) -> dict[str, str]:
    """The Authorization header for an http(s) source; never in clear text to a host outside the platform."""
    if secret is None:
        return {}
    if url.scheme == "http" and not url.is_listed(policy.allowed_hosts):
        raise refused(f"credentials would go to host {url.host!r} in clear text: use https")
    if "token" in secret:
        return {"Authorization": f"Bearer {_one_line(secret['token'])}"}
    if "username" not in secret or "password" not in secret:
        raise refused("the Secret must have the keys username and password, or token")
    pair = f"{secret['username']}:{secret['password']}"
    return {"Authorization": f"Basic {b64encode(pair.encode()).decode()}"}


def _one_line(token: str) -> str:
    if not token.isascii() or not token.isprintable():
        raise refused("the Secret's token must be one line of ASCII")
    return token
