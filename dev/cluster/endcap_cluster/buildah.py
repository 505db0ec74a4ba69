# SPDX-License-Identifier: Apache-2.0
"""buildah with a store of its own in the checkout, so that removing the checkout removes every layer."""

import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from endcap_cluster.errors import ClusterError
from endcap_cluster.layout import KEPT

CERTIFICATES = "/etc/ssl/certs"
# What pip needs to reach a package index from this machine. Given on the command line of the build only:
# a Dockerfile that declares such an argument sees it, and no file of the image keeps it.
PIP_VARIABLES = ("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_TRUSTED_HOST")
HOME = KEPT / "buildah"
STORE = ("--root", str(HOME / "store"), "--runroot", str(HOME / "run"))


def build(tag: str, dockerfile: Path, context: Path, arguments: Mapping[str, str], *, cache: bool) -> None:
    """Build an image as `docker build` would; `cache` keeps intermediate layers for the next build."""
    host = {name: os.environ[name] for name in PIP_VARIABLES if name in os.environ}
    given = [f"--build-arg={name}={value}" for name, value in {**host, **arguments}.items()]
    _run(
        "bud",
        "--isolation=chroot",
        "--network=host",
        f"--volume={CERTIFICATES}:{CERTIFICATES}:ro",
        "--pull-never",
        "--format=oci",
        f"--layers={str(cache).lower()}",
        f"--file={dockerfile}",
        f"--tag={tag}",
        *given,
        str(context),
    )


def export(tag: str, archive: Path) -> None:
    """Write the image as an archive that carries its full name.

    It is one of Docker's, since buildah compresses the layers of an OCI archive, which takes longer than all
    else and helps nobody on one machine.
    """
    archive.unlink(missing_ok=True)
    _run("push", "--quiet", tag, f"docker-archive:{archive}:{tag}")


def _run(command: str, *arguments: str) -> None:
    argv: Sequence[str] = ["buildah", *STORE, command, *arguments]
    done = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode:
        last = "\n".join(done.stdout.splitlines()[-40:])
        raise ClusterError(f"buildah {command} {' '.join(arguments)} failed:\n{last}")
