# SPDX-License-Identifier: Apache-2.0
"""The embedded cluster comes up from anything and leaves nothing, also after a crash.

These tests end the cluster that runs, with all that is in it, and leave a new one.
"""

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from endcap_cluster import embedded, flavour, kubectl, network, processes, teardown, wait
from endcap_cluster.layout import FULL

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(
        "ENDCAP_E2E_LIFECYCLE" not in os.environ,
        reason="ends the running cluster: set ENDCAP_E2E_LIFECYCLE=1 to allow it",
    ),
]


@pytest.fixture(autouse=True, scope="module")
def _a_new_cluster_afterwards() -> Iterator[None]:
    yield
    flavour.up("embedded")


def crash(*names: str) -> None:
    """Kill daemons of the cluster, all for none, as a crash would; containers go on."""
    killed = [record for record in processes.recorded(FULL.pids) if not names or record.name in names]
    for record in killed:
        os.kill(record.pid, signal.SIGKILL)
    wait.until("their end", lambda: not any(map(processes.alive, killed)), seconds=20)


def pids() -> dict[str, int]:
    return {record.name: record.pid for record in processes.recorded(FULL.pids)}


def outside() -> tuple[str, ...]:
    """What on this machine is not the cluster's and must be as before: rules, links, settings."""
    rules = [subprocess.run(["iptables-save"], capture_output=True, text=True, check=True).stdout]
    chains = [line.split(" [")[0] for line in rules[0].splitlines() if not line.startswith("#")]
    settings = [Path("/proc/sys", name).read_text() for name in network.SYSCTLS]
    links = sorted(link.name for link in Path("/sys/class/net").iterdir())
    return (*chains, *settings, *links)


def test_up_on_a_running_cluster_changes_nothing() -> None:
    flavour.up("embedded")
    before = pids()
    flavour.up("embedded")
    assert pids() == before
    assert flavour.status()[1]


def test_down_leaves_nothing_and_the_machine_as_it_was() -> None:
    flavour.down()
    before = outside()
    flavour.up("embedded")
    assert teardown.leftovers()
    flavour.down()
    assert teardown.leftovers() == []
    assert outside() == before


def test_down_after_a_crash_leaves_nothing() -> None:
    flavour.up("embedded")
    crash()
    flavour.down()
    assert teardown.leftovers() == []


@pytest.mark.parametrize("crashed", [(), ("kube-apiserver",), ("containerd", "kubelet"), ("etcd",)])
def test_up_after_a_crash_gives_a_working_cluster(crashed: tuple[str, ...]) -> None:
    flavour.up("embedded")
    crash(*crashed)
    assert not embedded.running()
    flavour.up("embedded")
    assert embedded.running()
    pods = kubectl.run(FULL.kubeconfig, "get", "pods", "--all-namespaces", "--output=name")
    assert pods.count("pod/s3-") == 1


def test_an_up_that_was_interrupted_is_cleaned_by_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    flavour.down()
    with monkeypatch.context() as patched:
        patched.setattr(embedded, "_start_node", lambda _: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            flavour.up("embedded")
    assert "kube-apiserver" in pids()
    flavour.up("embedded")
    assert embedded.running()
