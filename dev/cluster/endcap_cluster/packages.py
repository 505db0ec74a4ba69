# SPDX-License-Identifier: Apache-2.0
"""What the embedded cluster needs from the distribution."""

import os
import shutil
import subprocess

from endcap_cluster.errors import ClusterError
from endcap_cluster.progress import say

# Each package, and a file by which it is known to be there.
NEEDED = {
    "buildah": "/usr/bin/buildah",
    "containerd": "/usr/bin/containerd",
    "containernetworking-plugins": "/usr/lib/cni/bridge",
    "debian-archive-keyring": "/usr/share/keyrings/debian-archive-keyring.gpg",
    "iproute2": "/usr/sbin/ip",
    "iptables": "/usr/sbin/iptables",
    "mmdebstrap": "/usr/bin/mmdebstrap",
    "openssl": "/usr/bin/openssl",
    "runc": "/usr/sbin/runc",
}


def missing() -> list[str]:
    """The packages that are still to be installed."""
    return [name for name, file in NEEDED.items() if not os.path.exists(file)]  # noqa: PTH110


def install() -> None:
    """Install what is missing; nothing is asked and no daemon is configured."""
    wanted = missing()
    if not wanted:
        return
    if shutil.which("apt-get") is None:
        raise ClusterError(f"install {', '.join(wanted)} first: without apt-get this can only be done by you")
    _apt("update")
    _apt("install", "--yes", "--no-install-recommends", *wanted)


def announce() -> None:
    """Say what `install` will do before it does it."""
    wanted = missing()
    say(f"will install with apt-get: {' '.join(wanted)}" if wanted else "all Debian packages are installed")


def _apt(*arguments: str) -> None:
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    command = ["apt-get", "--quiet", *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ClusterError(f"{' '.join(command)} failed:\n{done.stderr.strip()}")
