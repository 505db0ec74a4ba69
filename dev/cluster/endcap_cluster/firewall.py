# SPDX-License-Identifier: Apache-2.0
"""iptables: the two rules that the pods' bridge needs, and the removal of all that the cluster put there."""

import subprocess

from endcap_cluster.errors import ClusterError

MARK = "endcap-cluster"
CHAINS = ("KUBE-", "CNI-")
FAMILIES = ("iptables", "ip6tables")


def open_for(bridge: str, pods: str) -> None:
    """Let pods be reached and reach out, also where the machine forwards nothing by default."""
    comment = ("-m", "comment", "--comment", MARK)
    outside = ("-s", pods, "!", "-d", pods, "!", "-o", bridge)
    _iptables("-t", "nat", "-A", "POSTROUTING", *outside, *comment, "-j", "MASQUERADE")
    for direction in ("-i", "-o"):
        _iptables("-A", "FORWARD", direction, bridge, *comment, "-j", "ACCEPT")


def remove() -> None:
    """Remove our rules, and the chains of Kubernetes and CNI with every rule that leads to them."""
    for family in FAMILIES:
        saved = _saved(family)
        kept = without_cluster(saved)
        if kept != saved:
            _restore(family, kept)


def leftovers() -> list[str]:
    """The rules and chains of a cluster that are still there."""
    found = []
    for family in FAMILIES:
        saved = _saved(family)
        kept = set(without_cluster(saved))
        found += [f"{family}: {line}" for line in saved if line not in kept]
    return found


def without_cluster(saved: list[str]) -> list[str]:
    """The lines of an iptables-save that are not the cluster's; all other rules stay, in order."""
    return [line for line in saved if not _is_clusters(line)]


def _is_clusters(line: str) -> bool:
    if line.startswith(":"):
        return line[1:].startswith(CHAINS)
    words = line.split()
    return line.startswith("-A") and (MARK in words or any(word.startswith(CHAINS) for word in words))


def _saved(family: str) -> list[str]:
    done = subprocess.run([f"{family}-save"], capture_output=True, text=True, check=False)
    if done.returncode:
        raise ClusterError(f"{family}-save failed: {done.stderr.strip()}")
    return [line for line in done.stdout.splitlines() if not line.startswith("#")]


def _restore(family: str, lines: list[str]) -> None:
    text = "\n".join(lines) + "\n"
    subprocess.run([f"{family}-restore"], input=text, text=True, check=True, capture_output=True)


def _iptables(*arguments: str) -> None:
    done = subprocess.run(["iptables", "-w", *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise ClusterError(f"iptables {' '.join(arguments)} failed: {done.stderr.strip()}")
