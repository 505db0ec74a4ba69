# SPDX-License-Identifier: Apache-2.0
"""Ending the full cluster, and cleaning after one that crashed: the same steps, each content with nothing.

The steps follow from what keeps what alive: kubelet would start containers again, containers outlive
containerd, mounts outlive containers, and addresses and rules outlive all of them.
"""

import shutil
import sys
from pathlib import Path

from endcap_cluster import cgroups, components, containerd, firewall, mounts, network, processes
from endcap_cluster.layout import FULL, RUN, Layout

OWNER = RUN / "owner"
SYSCTLS = RUN / "sysctls.json"
# Grace in seconds, in the order of ending. The API server drains for as long as a watch is open.
GRACE = {
    "kubelet": 5.0,
    "kube-proxy": 2.0,
    "dns": 1.0,
    "kube-scheduler": 1.0,
    "kube-controller-manager": 1.0,
    "kube-apiserver": 2.0,
    "etcd": 2.0,
    "containerd": 5.0,
}
CONTAINER_LINKS = Path("/var/log/containers")
KUBELET = Path("/var/lib/kubelet")
PLUGINS = KUBELET / "device-plugins"  # here, whatever root a kubelet is given
SHARED = (CONTAINER_LINKS, Path("/run/containerd"), Path("/var/lib/cni"))


def owner() -> Path | None:
    """The state directory of the cluster that this machine runs or ran, whichever checkout started it."""
    return Path(OWNER.read_text()) if OWNER.exists() else None


def claim(layout: Layout) -> None:
    RUN.mkdir(parents=True, exist_ok=True)
    OWNER.write_text(str(layout.state))


def clean() -> None:
    """End and remove everything of the cluster that this machine runs or ran; kept: binaries and images.

    Control groups and rules are named alike in every Kubernetes. They are touched only where a cluster of
    ours is on record, beside which there can be no other.
    """
    if sys.platform != "linux":
        return  # no embedded cluster can have run here
    layout = Layout(state=owner() or FULL.state, run=RUN)
    if owner() is not None:
        _stop(layout, GRACE)
        cgroups.end_containers()
        containerd.end_shims(components.runtime(layout))
        cgroups.remove()
        firewall.remove()
    for directory in (layout.state, layout.run):
        mounts.unmount_below(directory)
    network.down(SYSCTLS)
    _remove_files(layout)


def leftovers() -> list[str]:
    """What of a cluster is still on this machine, in words; empty after `clean`."""
    layout = Layout(state=owner() or FULL.state, run=RUN)
    alive = filter(processes.alive, processes.recorded(layout.pids))
    mounted = [*mounts.below(layout.state), *mounts.below(layout.run)]
    files = (layout.state, layout.run, network.LEASES, *filter(_only_folders, SHARED), *_kubelets_folders())
    return [
        *(f"process {record.name} (pid {record.pid})" for record in alive),
        *(f"container shim (pid {pid})" for pid in containerd.shims(components.runtime(layout))),
        *(f"mount {point}" for point in mounted),
        *(f"control group {tree}" for tree in cgroups.trees()),
        *([f"bridge {network.BRIDGE}"] if network.exists() else []),
        *(firewall.leftovers() if shutil.which("iptables-save") else []),
        *(f"file {path}" for path in files if path.exists()),
    ]


def _stop(layout: Layout, graces: dict[str, float]) -> None:
    for name, grace in graces.items():
        record = processes.find(layout.pids, name)
        if record is not None:
            processes.stop(layout.pids, record, grace)


def _remove_files(layout: Layout) -> None:
    _remove_links_into(layout.state)
    for directory in (layout.state, *_kubelets_folders(), *filter(_only_folders, SHARED)):
        shutil.rmtree(directory, ignore_errors=not directory.exists())
    shutil.rmtree(layout.run, ignore_errors=not layout.run.exists())  # last: it says what to clean


def _remove_links_into(state: Path) -> None:
    """A kubelet links every container's log into a folder that other runtimes may use too."""
    if CONTAINER_LINKS.is_dir():
        for link in CONTAINER_LINKS.iterdir():
            if link.is_symlink() and link.readlink().is_relative_to(state):
                link.unlink()


def _kubelets_folders() -> list[Path]:
    """The folder of a kubelet that keeps its data elsewhere, as ours does; never that of another."""
    ours = KUBELET.is_dir() and all(entry == PLUGINS for entry in KUBELET.iterdir())
    return [KUBELET] if ours else []


def _only_folders(top: Path) -> bool:
    """Whether `top` is there and no file lies anywhere in it."""
    return top.is_dir() and all(path.is_dir() for path in top.rglob("*"))
