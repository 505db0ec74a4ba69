# SPDX-License-Identifier: Apache-2.0
"""Where everything lies.

What is kept (binaries, images, data, logs) lies in the checkout under `.endcap/`. Pids and sockets lie in
`/run`, for two reasons: a socket's path may not exceed 107 bytes, and since a machine has room for one full
cluster only, every checkout must find, and be able to clean, what another checkout left behind.
"""

from dataclasses import dataclass
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[3]
SOURCES = CHECKOUT / "dev" / "cluster"
KEPT = CHECKOUT / ".endcap"
BINARIES = KEPT / "bin"
IMAGES = KEPT / "images"
STATE = KEPT / "cluster"
KUBECONFIG = STATE / "kubeconfig"
AUDIT_LOG = STATE / "audit.log"
RUN = Path("/run/endcap-cluster")
LIGHT = KEPT / "light"


@dataclass(frozen=True)
class Layout:
    """The directories of one cluster: `state` is kept on disk, `run` holds pids and sockets."""

    state: Path
    run: Path

    @property
    def pki(self) -> Path:
        return self.state / "pki"

    @property
    def logs(self) -> Path:
        return self.state / "logs"

    @property
    def config(self) -> Path:
        return self.state / "config"

    @property
    def pids(self) -> Path:
        return self.run / "pids"

    @property
    def kubeconfig(self) -> Path:
        return self.state / "kubeconfig"

    @property
    def audit_log(self) -> Path:
        return self.state / "audit.log"

    def create(self) -> None:
        for directory in (self.pki, self.logs, self.config, self.pids):
            directory.mkdir(parents=True, exist_ok=True)


FULL = Layout(state=STATE, run=RUN)


def light(directory: Path) -> Layout:
    """The layout of a light cluster: all of it in one directory of the caller's choice."""
    resolved = directory.resolve()
    return Layout(state=resolved, run=resolved / "run")
