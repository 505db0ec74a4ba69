# SPDX-License-Identifier: Apache-2.0
"""containerd for one cluster: its settings, and how to be rid of everything that it started.

A container outlives containerd, since a shim holds it. `remove` therefore ends the containers by their
control groups, then the shims by the socket address, unique to this cluster, that each carries in its
command line.
"""

import contextlib
import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from endcap_cluster import processes, wait
from endcap_cluster.errors import ClusterError

PAUSE_IMAGE = "docker.io/endcap/pause:dev"
CNI_BINARIES = "/usr/lib/cni"
SHIM_SOCKETS = Path("/run/containerd/s")  # for every containerd of a machine
NAMESPACE = "k8s.io"


@dataclass(frozen=True)
class Containerd:
    """Where one containerd keeps things: images and containers under `root`, sockets and mounts in `state`."""

    root: Path
    state: Path
    cni: Path

    @property
    def address(self) -> Path:
        return self.state / "containerd.sock"

    @property
    def endpoint(self) -> str:
        return f"unix://{self.address}"


def settings(plan: Containerd) -> str:
    """The text of config.toml. Network namespaces lie in its own state, so that none is left in /run/netns.

    The kernel's limits on a machine that is itself a container are why scores are restricted and AppArmor
    is off; cgroupfs is used since there need not be a systemd.
    """
    return f"""\
version = 2
root = "{plan.root}"
state = "{plan.state}/state"
disabled_plugins = [
  "io.containerd.internal.v1.opt",
  "io.containerd.snapshotter.v1.aufs",
  "io.containerd.snapshotter.v1.btrfs",
  "io.containerd.snapshotter.v1.devmapper",
  "io.containerd.snapshotter.v1.zfs",
]

[grpc]
address = "{plan.address}"

[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "{PAUSE_IMAGE}"
restrict_oom_score_adj = true
disable_apparmor = true
netns_mounts_under_state_dir = true
stream_server_address = "127.0.0.1"

[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "{CNI_BINARIES}"
conf_dir = "{plan.cni}"

[plugins."io.containerd.grpc.v1.cri".containerd]
snapshotter = "overlayfs"

[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"

[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
Root = "{plan.state}/runc"
SystemdCgroup = false
"""


def ready(plan: Containerd) -> bool:
    return plan.address.exists() and _ctr(plan, "version").returncode == 0


def load(plan: Containerd, archive: Path) -> None:
    """Import an image's archive under the name that it carries."""
    done = _ctr(plan, "--namespace", NAMESPACE, "images", "import", "--snapshotter=overlayfs", str(archive))
    if done.returncode:
        raise ClusterError(f"containerd could not import {archive}: {done.stderr.strip()}")


def tag(plan: Containerd, name: str, other: str) -> None:
    """Give an imported image another name."""
    done = _ctr(plan, "--namespace", NAMESPACE, "images", "tag", "--force", name, other)
    if done.returncode:
        raise ClusterError(f"containerd could not call {name} {other}: {done.stderr.strip()}")


def shims(plan: Containerd) -> list[int]:
    """The pids of the shims of this containerd, also when it is dead itself."""
    return [pid for pid, arguments in _commands() if _is_shim(arguments, str(plan.address))]


def end_shims(plan: Containerd) -> None:
    """End every shim, whose container must be dead, and remove the sockets that nobody listens on then."""
    pids = shims(plan)
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):  # it may end by itself between look and kill
            os.kill(pid, signal.SIGKILL)
    # A dying process loses its command line, by which `shims` knows it, before it closes its sockets.
    wait.until("the end of every shim", lambda: not any(map(processes.start_time, pids)), seconds=10)
    for path in SHIM_SOCKETS.glob("*"):
        if not _listened_on(path):
            path.unlink()


def _ctr(plan: Containerd, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = ["ctr", "--address", str(plan.address), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def _is_shim(arguments: list[str], address: str) -> bool:
    return "containerd-shim" in arguments[0] and address in arguments


def _commands() -> Iterator[tuple[int, list[str]]]:
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # it has just ended
                yield int(entry.name), (entry / "cmdline").read_bytes().decode(errors="replace").split("\0")


def _listened_on(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(str(path)) == 0
