# SPDX-License-Identifier: Apache-2.0
"""A port of this machine that leads to a Service of the cluster, whichever flavour of cluster it is."""

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

from endcap_cluster import ports, tools, wait
from endcap_cluster.errors import ClusterError

START_SECONDS = 30


@contextlib.contextmanager
def forwarded(kubeconfig: Path, namespace: str, service: str, port: int) -> Iterator[str]:
    """`host:port` on loopback that answers for the Service while the context lasts."""
    (local,) = ports.free(1)
    command = [
        str(tools.KUBECTL.path),
        f"--kubeconfig={kubeconfig}",
        f"--namespace={namespace}",
        "port-forward",
    ]
    child = subprocess.Popen(
        [*command, f"service/{service}", f"{local}:{port}"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        wait.until(f"a way to {service}", lambda: _open(child, service, local), START_SECONDS)
        yield f"127.0.0.1:{local}"
    finally:
        child.terminate()
        child.communicate()


def _open(child: "subprocess.Popen[str]", service: str, port: int) -> bool:
    if child.poll() is not None:
        raise ClusterError(f"no way to {service}: {child.communicate()[1].strip()}")
    return ports.listening("127.0.0.1", port)
