# SPDX-License-Identifier: Apache-2.0
"""The light cluster: etcd and an API server on loopback, for tests that need no pods.

It owns one directory and chooses free ports, so any number can run beside each other and beside the full
cluster. It needs no root.
"""

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from endcap_cluster import control_plane, kubeconfig, pki, ports, probe, processes, toolchain, wait
from endcap_cluster.errors import ClusterError
from endcap_cluster.layout import Layout, light

LOOPBACK = "127.0.0.1"
START_SECONDS = 60
# Enough for owner references, namespaces and default service accounts; no pods are made from workloads.
GARBAGE_COLLECTION = (
    "garbage-collector-controller",
    "namespace-controller",
    "serviceaccount-controller",
    "root-ca-certificate-publisher-controller",
)


@dataclass(frozen=True)
class LightCluster:
    """A running light cluster."""

    directory: Path
    url: str
    kubeconfig: Path
    audit_log: Path


def up(directory: Path, controllers: Sequence[str] = ()) -> LightCluster:
    """Start a light cluster in `directory`, replacing one that ran there.

    `controllers` are kube-controller-manager's names for its `--controllers` flag; none means that no
    controller manager is started, so that nothing but the test writes.
    """
    kube = toolchain.build(toolchain.KUBE)
    layout = light(directory)
    down(directory)
    layout.create()
    plan = _plan(layout)
    try:
        _start(kube, layout, plan, controllers)
    except ClusterError:
        _stop(layout)  # the logs stay
        raise
    (layout.state / "cluster.json").write_text(json.dumps({"flavour": "light", "url": plan.url}))
    return LightCluster(layout.state, plan.url, layout.kubeconfig, layout.audit_log)


def down(directory: Path) -> None:
    """Stop the light cluster of `directory` and remove its data; nothing to do is no error."""
    layout = light(directory)
    _refuse_strangers(layout)
    _stop(layout)
    if layout.state.exists():
        shutil.rmtree(layout.state)


def _refuse_strangers(layout: Layout) -> None:
    """Never remove a directory that is not ours: a typing error must not cost anyone's files."""
    if layout.state.exists() and any(layout.state.iterdir()) and not layout.pki.is_dir():
        raise ClusterError(
            f"{layout.state} is not empty and no light cluster's: give an empty or new directory"
        )


def _plan(layout: Layout) -> control_plane.ApiServer:
    client, peer, secure = ports.free(3)
    authority = pki.create_authority(layout.pki)
    policy = layout.config / "audit-policy.yaml"
    policy.write_text(control_plane.AUDIT_POLICY)
    return control_plane.ApiServer(
        etcd=control_plane.Etcd(layout.state / "etcd", client, peer),
        address=LOOPBACK,
        port=secure,
        authority=authority.pair.certificate,
        serving=authority.server("apiserver", [LOOPBACK, control_plane.FIRST_SERVICE], ["localhost"]),
        accounts_key=pki.signing_key(layout.pki),
        audit_policy=policy,
        audit_log=layout.audit_log,
    )


def _start(kube: Path, layout: Layout, plan: control_plane.ApiServer, controllers: Sequence[str]) -> None:
    authority = pki.Authority(layout.pki)
    admin = authority.client("admin", "endcap-admin", ["system:masters"])
    kubeconfig.write(layout.kubeconfig, plan.url, authority, admin)
    _daemon(kube, layout, control_plane.etcd(plan.etcd))
    without = [] if controllers else control_plane.without_controllers()
    # The endpoint of `kubernetes.default` may not be a loopback address, and no pod asks for it.
    server = [*control_plane.api_server(plan), "--endpoint-reconciler-type=none", *without]
    record = _daemon(kube, layout, server)
    tls = probe.context(str(plan.authority), admin)
    log = layout.logs / "kube-apiserver.log"

    def usable() -> bool:
        return all(probe.answers(plan.url, path, tls) for path in ("/readyz", "/api/v1/namespaces/default"))

    wait.until_serving(record, log, usable, START_SECONDS)
    if controllers:
        _start_controllers(kube, layout, plan, controllers)


def _start_controllers(
    kube: Path, layout: Layout, plan: control_plane.ApiServer, controllers: Sequence[str]
) -> None:
    authority = pki.Authority(layout.pki)
    client = authority.client("controllers", "system:kube-controller-manager")
    path = layout.config / "controllers.kubeconfig"
    kubeconfig.write(path, plan.url, authority, client)
    arguments = control_plane.controller_manager(path, plan.accounts_key, plan.authority, controllers, port=0)
    _daemon(kube, layout, arguments)


def _daemon(kube: Path, layout: Layout, arguments: list[str]) -> processes.Record:
    name = arguments[0]
    return processes.start(layout.pids, name, [str(kube), *arguments], layout.logs / f"{name}.log")


def _stop(layout: Layout) -> None:
    """The API server drains for long while a watch is open; nobody needs its last words."""
    for name, grace in (("kube-controller-manager", 0.5), ("kube-apiserver", 0.5), ("etcd", 0.5)):
        record = processes.find(layout.pids, name)
        if record is not None:
            processes.stop(layout.pids, record, grace)
