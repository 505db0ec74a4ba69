# SPDX-License-Identifier: Apache-2.0
"""What the fetcher's tests share: a model, limits that do not keep anybody waiting, and how a fetch fails."""

import hashlib
from pathlib import Path

import pytest

from endcap_runtime.artefacts import ArtefactError, Limits, Policy, Source, fetch

MODEL = b"tree\nversion=v4\n" * 1000
DIGEST = hashlib.sha256(MODEL).hexdigest()
QUICK = Limits(connect_seconds=2, read_seconds=2, deadline_seconds=20, attempts=1, backoff_seconds=0.01)


def failure(uri: str, into: Path, policy: Policy, *, digest: str = DIGEST, using: str | None = None, **seams):
    """What a fetch fails with; nothing may be left behind by it."""
    with pytest.raises(ArtefactError) as caught:
        fetch(Source(uri, digest, using), into, policy, **seams)
    assert not into.exists() or list(into.iterdir()) == [], "something was left behind"
    return caught.value


def to_loopback(_host, _port):
    return ["127.0.0.1"]


def secret(policy: Policy, name: str, keys: dict[str, str]) -> str:
    folder = policy.secrets_dir / name
    folder.mkdir(parents=True)
    for key, value in keys.items():
        (folder / key).write_text(f"{value}\n")
    return name
