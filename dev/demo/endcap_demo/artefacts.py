# SPDX-License-Identifier: Apache-2.0
"""The examples' artefacts: trained on this machine, then pushed to the cluster's S3 server.

The same training gives the same bytes, so what was made from these very sources is not made again.
"""

import hashlib
import subprocess
import sys
from pathlib import Path

from endcap_cluster import s3
from endcap_cluster.errors import ClusterError
from endcap_cluster.layout import CHECKOUT

from endcap_cli import model_store
from endcap_cli.stores import S3Store
from endcap_demo.forwarding import forwarded
from endcap_demo.places import EXAMPLE, LIVE, TRIAL

BUCKET = "models"
# Of what was trained last; in the store, so that both go together.
STAMP = "made-from"
SOURCES = (".py", ".csv", ".yaml")


def train(example: Path) -> None:
    """Write the artefacts to the example's store, and their digests into its resources."""
    stamp = example / "store" / STAMP
    if stamp.exists() and stamp.read_text() == _state(example):
        return
    command = [sys.executable, str(example / "train")]
    done = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ClusterError(f"training failed:\n{done.stderr.strip()}")
    stamp.write_text(_state(example))


def _state(example: Path) -> str:
    """Names the sources of all examples, since they share some, and what lies in the example's store."""
    known = hashlib.sha256()
    for file in sorted(example.parent.rglob("*")):
        if file.suffix in SOURCES:
            known.update(f"{file.relative_to(example.parent)}\0".encode() + file.read_bytes())
    for file in sorted((example / "store" / BUCKET).rglob("*.*")):
        known.update(f"{file.relative_to(example)} {file.stat().st_size}\0".encode())
    return known.hexdigest()


def push(kubeconfig: Path) -> s3.Store:
    """Put every artefact of the examples into the cluster's store; what is there already stays."""
    known = s3.read(kubeconfig)
    with forwarded(kubeconfig, s3.NAMESPACE, "s3", s3.PORT) as address:
        store = S3Store.at(f"http://{address}", known.access_key, known.secret_key)
        store.make_bucket(BUCKET)
        for example in (EXAMPLE, LIVE, TRIAL):
            _push(example, store)
    return known


def _push(example: Path, store: S3Store) -> None:
    for file in sorted((example / "store" / BUCKET).rglob("*")):
        if file.is_file():
            key = file.relative_to(example / "store").as_posix()
            model_store.push(file, f"s3://{key}", store)
