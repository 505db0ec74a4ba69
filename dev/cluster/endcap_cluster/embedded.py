# SPDX-License-Identifier: Apache-2.0
"""The full cluster: control plane, node and DNS on this machine. It is started here and ended by `teardown`.

The order of start is that of dependence: the bridge, since the API server listens on its address; then
containerd, etcd and the API server; then all of its clients at once.
"""

import json
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from endcap_cluster import (
    base,
    cgroups,
    components,
    containerd,
    images,
    kubectl,
    network,
    node,
    packages,
    ports,
    probe,
    processes,
    s3,
    teardown,
    toolchain,
    tools,
    wait,
)
from endcap_cluster.components import Cluster, Daemon
from endcap_cluster.errors import ClusterError
from endcap_cluster.exclusive import exclusive
from endcap_cluster.layout import FULL, SOURCES
from endcap_cluster.progress import phase, say

DNS_ACCESS = SOURCES / "manifests" / "dns-access.yaml"
LISTENING = {
    "kube-apiserver": (network.GATEWAY, components.API_PORT),
    "etcd": ("127.0.0.1", components.ETCD_PORT),
    "kubelet": (network.GATEWAY, components.KUBELET_PORT),
}
OWN_IMAGES = ("endcap/pause", "endcap/s3")
START_SECONDS = 60


def require_root() -> None:
    if os.geteuid() != 0:
        raise ClusterError(
            "the embedded cluster needs root (namespaces, mounts, iptables): run it with sudo, or choose "
            "--cluster=kind, or --cluster=current for the cluster of your kubeconfig"
        )


def up(wanted: Sequence[images.Image]) -> list[str]:
    """Bring the cluster up from whatever state this machine is in; a running one is left as it is.

    The `wanted` images are built while the cluster's own programs are, and are in the cluster at the end
    under the names that are returned.
    """
    if running():
        say(f"the cluster is up already: {FULL.kubeconfig}")
    else:
        packages.announce()
        _refuse_running_elsewhere()
        _make(wanted)
        _start()
    with phase("S3 server"):
        s3.install(FULL.kubeconfig)
    return [_loaded(image) for image in wanted]


def _loaded(image: images.Image) -> str:
    with phase(f"loading {image.name}"):
        return load(image)


def running() -> bool:
    """Whether every daemon of this checkout's cluster lives."""
    if teardown.owner() != FULL.state:
        return False
    alive = {record.name for record in processes.recorded(FULL.pids) if processes.alive(record)}
    return alive.issuperset(teardown.GRACE)


def load(image: images.Image) -> str:
    """Build an image and import it, unless its present inputs are in the cluster already; its fixed name."""
    archive = images.build(image)
    fixed = images.fixed_name(image, images.fingerprint_of(archive))
    loaded = FULL.state / "loaded.json"
    with exclusive(FULL.state / ".loaded.lock"):
        known: dict[str, str] = json.loads(loaded.read_text()) if loaded.exists() else {}
        if known.get(image.full_name) != archive.name:
            containerd.load(components.runtime(FULL), archive)
            containerd.tag(components.runtime(FULL), image.full_name, f"{images.REGISTRY}/{fixed}")
            loaded.write_text(json.dumps({**known, image.full_name: archive.name}))
    return fixed


def _refuse_running_elsewhere() -> None:
    owner = teardown.owner()
    if owner not in (None, FULL.state) and any(map(processes.alive, processes.recorded(FULL.pids))):
        raise ClusterError(f"the cluster of another checkout runs ({owner}): end it with `down` first")
    if owner is None and cgroups.busy():
        raise ClusterError(
            "another Kubernetes runs pods on this machine: end it, or use it by --cluster=current"
        )


def _make(wanted: Sequence[images.Image]) -> None:
    """Install and build what the cluster is made of, the slow parts side by side; clean meanwhile."""
    with ThreadPoolExecutor() as pool:
        compiled = pool.submit(_compile)
        tooled = pool.submit(_timed, "kubectl and helm", tools.install)
        _timed("Debian packages", packages.install)
        built = pool.submit(_build_images, wanted)
        _timed("cleaning", teardown.clean)
        for work in (tooled, compiled, built):
            work.result()


def _build_images(wanted: Sequence[images.Image]) -> None:
    _timed("base image", base.ensure)
    for image in wanted:
        with phase(f"building {image.name}"):
            images.build(image)


def _compile() -> None:
    """One after the other: a Go build uses every core by itself."""
    programs = (toolchain.KUBE, toolchain.DNS, toolchain.PAUSE, toolchain.S3)
    for program in programs:
        if not toolchain.binary(program).exists():
            with phase(f"building {program.name}"):
                toolchain.build(program)


def _start() -> None:
    teardown.claim(FULL)
    FULL.create()
    with phase("network"):
        network.up(teardown.SYSCTLS)
        _refuse_busy_ports()
    with phase("certificates and settings"):
        cluster = components.prepare(FULL, toolchain.build(toolchain.KUBE), toolchain.build(toolchain.DNS))
    with phase("API server"):
        _start_api_server(cluster)
    with phase("node"):
        _start_node(cluster)


def _start_api_server(cluster: Cluster) -> None:
    _daemon(cluster.containerd)
    _daemon(cluster.etcd)
    record = _daemon(cluster.api_server)
    tls = probe.context(str(cluster.authority.pair.certificate), cluster.admin)

    def ready() -> bool:
        return probe.answers(cluster.url, "/readyz", tls)

    wait.until_serving(record, FULL.logs / "kube-apiserver.log", ready, START_SECONDS)


def _start_node(cluster: Cluster) -> None:
    kubectl.apply(FULL.kubeconfig, DNS_ACCESS.read_text())
    for daemon in cluster.clients:
        _daemon(daemon)
    wait.until("containerd", lambda: containerd.ready(components.runtime(FULL)), START_SECONDS)
    for image in images.find(OWN_IMAGES):
        load(image)
    arguments = ("wait", "--for=condition=Ready", f"node/{node.NAME}", "--timeout=1s")
    wait.until("the node", lambda: kubectl.succeeds(FULL.kubeconfig, *arguments), START_SECONDS)
    wait.until("DNS", lambda: ports.listening(network.GATEWAY, 53), START_SECONDS)


def _daemon(daemon: Daemon) -> processes.Record:
    log = FULL.logs / f"{daemon.name}.log"
    return processes.start(FULL.pids, daemon.name, daemon.argv, log)


def _refuse_busy_ports() -> None:
    for name, (address, port) in LISTENING.items():
        if ports.listening(address, port):
            raise ClusterError(f"port {port} of {name} is taken: another Kubernetes runs on this machine")


def _timed(name: str, work: Callable[[], object]) -> None:
    with phase(name):
        work()
