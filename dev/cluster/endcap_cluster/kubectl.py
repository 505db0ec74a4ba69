# SPDX-License-Identifier: Apache-2.0
"""kubectl against one cluster."""

import subprocess
from pathlib import Path

from endcap_cluster import tools
from endcap_cluster.errors import ClusterError


def run(kubeconfig: Path, *arguments: str, stdin: str | None = None) -> str:
    """Run kubectl and return what it prints; ClusterError with its own words when it fails."""
    # What kubectl remembers about a cluster goes with the cluster.
    cache = f"--cache-dir={kubeconfig.parent / 'kubectl-cache'}"
    command = [str(tools.KUBECTL.path), f"--kubeconfig={kubeconfig}", cache, *arguments]
    done = subprocess.run(command, input=stdin, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ClusterError(f"kubectl {' '.join(arguments)} failed: {done.stderr.strip()}")
    return done.stdout


def apply(kubeconfig: Path, manifests: str) -> None:
    run(kubeconfig, "apply", "--server-side", "--force-conflicts", "--filename=-", stdin=manifests)


def succeeds(kubeconfig: Path, *arguments: str) -> bool:
    try:
        run(kubeconfig, *arguments)
    except ClusterError:
        return False
    return True
