# SPDX-License-Identifier: Apache-2.0
"""The pods' network: one bridge on this machine, which is the only node.

The bridge is made before the API server starts, since its address is where the API server listens, where
kubelet serves and where DNS answers: the one address that both the machine and every pod can reach.
"""

import json
import shutil
import subprocess
from pathlib import Path

from endcap_cluster import firewall
from endcap_cluster.errors import ClusterError

BRIDGE = "endcap0"
PODS = "10.244.0.0/16"
GATEWAY = "10.244.0.1"
NAME = "endcap"
# Forwarding, and replies between two pods on the bridge passing the rules that undo a Service's address.
SYSCTLS = ("net/ipv4/ip_forward", "net/bridge/bridge-nf-call-iptables")
LEASES = Path("/var/lib/cni/networks") / NAME
RESULTS = Path("/var/lib/cni/results")


def cni_settings() -> str:
    """The CNI configuration: a bridge with hairpin, so that a pod reaches itself through its Service."""
    bridge = {
        "type": "bridge",
        "bridge": BRIDGE,
        "isGateway": True,
        "ipMasq": False,
        "hairpinMode": True,
        "ipam": {
            "type": "host-local",
            "ranges": [[{"subnet": PODS, "gateway": GATEWAY}]],
            "routes": [{"dst": "0.0.0.0/0"}],
        },
    }
    plugins = [bridge, {"type": "portmap", "capabilities": {"portMappings": True}}]
    return json.dumps({"cniVersion": "0.4.0", "name": NAME, "plugins": plugins}, indent=2)


def up(saved: Path) -> None:
    """Make the bridge and its rules; what the sysctls were is kept in `saved`."""
    saved.write_text(json.dumps({name: _sysctl(name).read_text().strip() for name in SYSCTLS}))
    for name in SYSCTLS:
        _sysctl(name).write_text("1")
    _ip("link", "add", BRIDGE, "type", "bridge")
    _ip("address", "add", f"{GATEWAY}/{PODS.split('/')[1]}", "dev", BRIDGE)
    _ip("link", "set", BRIDGE, "up")
    firewall.open_for(BRIDGE, PODS)


def down(saved: Path) -> None:
    """Remove the bridge and the leases, and set the sysctls back to what they were."""
    if exists():
        _ip("link", "delete", BRIDGE)
    shutil.rmtree(LEASES, ignore_errors=True)
    for result in _results():
        result.unlink(missing_ok=True)
    if saved.exists():
        for name, value in json.loads(saved.read_text()).items():
            _sysctl(name).write_text(value)


def exists() -> bool:
    return Path("/sys/class/net", BRIDGE).exists()


def _results() -> list[Path]:
    """What CNI remembers of pods that were not taken off the network one by one: by network and sandbox."""
    found = list(RESULTS.glob(f"{NAME}-*"))
    sandboxes = [result.name.split("-")[1] for result in found]
    return found + [RESULTS / f"cni-loopback-{sandbox}-lo" for sandbox in sandboxes]


def _sysctl(name: str) -> Path:
    path = Path("/proc/sys", name)
    if not path.exists() and shutil.which("modprobe"):
        subprocess.run(["modprobe", "br_netfilter"], check=False, capture_output=True)
    if not path.exists():
        raise ClusterError(
            f"the kernel lacks {name.replace('/', '.')}: load its module (modprobe br_netfilter)"
        )
    return path


def _ip(*arguments: str) -> None:
    done = subprocess.run(["ip", *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise ClusterError(f"ip {' '.join(arguments)} failed: {done.stderr.strip()}")
