# SPDX-License-Identifier: Apache-2.0
"""The daemons of the full cluster: their certificates, settings files and command lines."""

from dataclasses import dataclass
from pathlib import Path

from endcap_cluster import containerd, control_plane, kubeconfig, network, node, pki
from endcap_cluster.layout import Layout

API_PORT = 6443
KUBELET_PORT = 10250
CONTROLLERS_PORT = 10257
ETCD_PORT, ETCD_PEER_PORT = 2379, 2380
SERVICE_NAMES = (
    "localhost",
    "kubernetes",
    "kubernetes.default",
    "kubernetes.default.svc",
    f"kubernetes.default.svc.{control_plane.DOMAIN}",
)
# There is one node and one range of pod addresses: nothing to hand out.
CONTROLLERS = ("*", "-node-ipam-controller")


@dataclass(frozen=True)
class Daemon:
    """A daemon's name, in pid files and logs, and its command line."""

    name: str
    argv: list[str]


@dataclass(frozen=True)
class Cluster:
    """The daemons in the order of their start: `clients` need the API server."""

    url: str
    admin: pki.Pair
    authority: pki.Authority
    containerd: Daemon
    etcd: Daemon
    api_server: Daemon
    clients: list[Daemon]


def runtime(layout: Layout) -> containerd.Containerd:
    """Where containerd keeps things: its data in the checkout, its sockets where paths are short."""
    return containerd.Containerd(
        root=layout.state / "containerd", state=layout.run / "containerd", cni=layout.config / "cni"
    )


def prepare(layout: Layout, kube: Path, dns: Path) -> Cluster:
    """Write every certificate and settings file of a new cluster; nothing is started."""
    authority = pki.create_authority(layout.pki)
    server = _api_server(layout, authority)
    admin = authority.client("admin", "endcap-admin", ["system:masters"])
    kubeconfig.write(layout.kubeconfig, server.url, authority, admin)
    return Cluster(
        url=server.url,
        admin=admin,
        authority=authority,
        containerd=_containerd(layout),
        etcd=_of_kube(kube, control_plane.etcd(server.etcd)),
        api_server=_of_kube(kube, control_plane.api_server(server) + _node_flags(authority)),
        clients=[
            *_controllers(kube, layout, authority, server),
            _kubelet(kube, layout, authority, server.url),
            _proxy(kube, layout, authority, server.url),
            _dns(dns, layout, authority, server.url),
        ],
    )


def _api_server(layout: Layout, authority: pki.Authority) -> control_plane.ApiServer:
    addresses = [network.GATEWAY, control_plane.FIRST_SERVICE, "127.0.0.1"]
    return control_plane.ApiServer(
        etcd=control_plane.Etcd(layout.state / "etcd", ETCD_PORT, ETCD_PEER_PORT),
        address=network.GATEWAY,
        port=API_PORT,
        authority=authority.pair.certificate,
        serving=authority.server("apiserver", addresses, SERVICE_NAMES),
        accounts_key=pki.signing_key(layout.pki),
        audit_policy=_settings(layout, "audit-policy.yaml", control_plane.AUDIT_POLICY),
        audit_log=layout.audit_log,
    )


def _node_flags(authority: pki.Authority) -> list[str]:
    front_proxy = authority.client("front-proxy", "front-proxy-client")
    kubelet_client = authority.client("kubelet-client", "kube-apiserver-kubelet-client", ["system:masters"])
    return control_plane.with_node(front_proxy, kubelet_client, authority.pair.certificate)


def _containerd(layout: Layout) -> Daemon:
    plan = runtime(layout)
    plan.cni.mkdir(exist_ok=True)
    plan.state.mkdir(exist_ok=True)
    _settings(layout, "cni/10-endcap.conflist", network.cni_settings())
    settings = _settings(layout, "containerd.toml", containerd.settings(plan))
    return Daemon("containerd", ["containerd", f"--config={settings}"])


def _controllers(
    kube: Path, layout: Layout, authority: pki.Authority, server: control_plane.ApiServer
) -> list[Daemon]:
    manager = _kubeconfig(layout, authority, server.url, "system:kube-controller-manager")
    scheduler = _kubeconfig(layout, authority, server.url, "system:kube-scheduler")
    arguments = control_plane.controller_manager(
        manager, server.accounts_key, server.authority, CONTROLLERS, CONTROLLERS_PORT
    )
    return [_of_kube(kube, arguments), _of_kube(kube, control_plane.scheduler(scheduler))]


def _kubelet(kube: Path, layout: Layout, authority: pki.Authority, url: str) -> Daemon:
    plan = node.Node(
        root=layout.state / "kubelet",
        pod_logs=layout.state / "pod-logs",
        endpoint=runtime(layout).endpoint,
        authority=authority.pair.certificate,
        serving=authority.server("kubelet", [network.GATEWAY], [node.NAME]),
        kubeconfig=_kubeconfig(layout, authority, url, f"system:node:{node.NAME}", "system:nodes"),
        settings=layout.config / "kubelet.yaml",
    )
    plan.settings.write_text(node.kubelet_settings(plan))
    return _of_kube(kube, node.kubelet(plan))


def _proxy(kube: Path, layout: Layout, authority: pki.Authority, url: str) -> Daemon:
    settings = node.proxy_settings(_kubeconfig(layout, authority, url, "system:kube-proxy"))
    return _of_kube(kube, node.proxy(_settings(layout, "kube-proxy.yaml", settings)))


def _dns(program: Path, layout: Layout, authority: pki.Authority, url: str) -> Daemon:
    settings = node.dns_settings(_kubeconfig(layout, authority, url, "system:coredns"))
    return Daemon("dns", [str(program), "-conf", str(_settings(layout, "Corefile", settings))])


def _of_kube(kube: Path, arguments: list[str]) -> Daemon:
    return Daemon(arguments[0], [str(kube), *arguments])


def _kubeconfig(layout: Layout, authority: pki.Authority, url: str, user: str, *groups: str) -> Path:
    name = user.split(":")[1]
    path = layout.config / f"{name}.kubeconfig"
    kubeconfig.write(path, url, authority, authority.client(name, user, groups))
    return path


def _settings(layout: Layout, name: str, content: str) -> Path:
    path = layout.config / name
    path.write_text(content)
    return path
