# SPDX-License-Identifier: Apache-2.0
"""The command lines of etcd, the API server, the controllers and the scheduler.

Pure functions of a plan, so that what runs can be read in one place. Both kinds of cluster use them: the
light one with ports of its own on loopback, the full one with the well-known ports.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from endcap_cluster.pki import Pair

SERVICES = "10.96.0.0/16"
FIRST_SERVICE = "10.96.0.1"
DOMAIN = "cluster.local"

# Reads by the control plane itself are most of the traffic and answer no question of ours.
AUDIT_POLICY = """\
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- level: None
  verbs: [get, list, watch]
  userGroups: ["system:nodes"]
- level: None
  verbs: [get, list, watch]
  users:
  - system:apiserver
  - system:coredns
  - system:kube-controller-manager
  - system:kube-proxy
  - system:kube-scheduler
- level: None
  resources: [{group: coordination.k8s.io, resources: [leases]}]
  users: ["system:apiserver", "system:node:endcap"]
- level: Metadata
"""


@dataclass(frozen=True)
class Etcd:
    data: Path
    client_port: int
    peer_port: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.client_port}"


@dataclass(frozen=True)
class ApiServer:
    """What an API server is told; `address` is where it listens and what pods are told."""

    etcd: Etcd
    address: str
    port: int
    authority: Path
    serving: Pair
    accounts_key: Path
    audit_policy: Path
    audit_log: Path

    @property
    def url(self) -> str:
        return f"https://{self.address}:{self.port}"


def etcd(plan: Etcd) -> list[str]:
    """An etcd without fsync: a cluster for tests need not survive a power cut, and starts far faster."""
    peer = f"http://127.0.0.1:{plan.peer_port}"
    return [
        "etcd",
        f"--data-dir={plan.data}",
        f"--listen-client-urls={plan.url}",
        f"--advertise-client-urls={plan.url}",
        f"--listen-peer-urls={peer}",
        f"--initial-advertise-peer-urls={peer}",
        f"--initial-cluster=default={peer}",
        "--unsafe-no-fsync",
        "--log-level=warn",
    ]


def api_server(plan: ApiServer) -> list[str]:
    return [
        "kube-apiserver",
        f"--etcd-servers={plan.etcd.url}",
        f"--bind-address={plan.address}",
        f"--advertise-address={plan.address}",
        f"--secure-port={plan.port}",
        f"--tls-cert-file={plan.serving.certificate}",
        f"--tls-private-key-file={plan.serving.key}",
        f"--client-ca-file={plan.authority}",
        "--authorization-mode=Node,RBAC",
        "--service-account-issuer=https://kubernetes.default.svc",
        f"--service-account-key-file={plan.accounts_key}",
        f"--service-account-signing-key-file={plan.accounts_key}",
        f"--service-cluster-ip-range={SERVICES}",
        f"--audit-policy-file={plan.audit_policy}",
        f"--audit-log-path={plan.audit_log}",
        "--audit-log-maxsize=500",
        "--allow-privileged=true",  # Pod Security decides, as in any real cluster
        "--shutdown-delay-duration=0s",
    ]


def without_controllers() -> list[str]:
    """Nobody creates the default service account then, which pods would otherwise be refused for."""
    return ["--disable-admission-plugins=ServiceAccount"]


def with_node(front_proxy: Pair, kubelet_client: Pair, authority: Path) -> list[str]:
    """What an API server needs besides to reach kubelets and aggregated APIs."""
    return [
        "--kubelet-preferred-address-types=InternalIP",
        f"--kubelet-certificate-authority={authority}",
        f"--kubelet-client-certificate={kubelet_client.certificate}",
        f"--kubelet-client-key={kubelet_client.key}",
        f"--requestheader-client-ca-file={authority}",
        "--requestheader-allowed-names=front-proxy-client",
        "--requestheader-extra-headers-prefix=X-Remote-Extra-",
        "--requestheader-group-headers=X-Remote-Group",
        "--requestheader-username-headers=X-Remote-User",
        f"--proxy-client-cert-file={front_proxy.certificate}",
        f"--proxy-client-key-file={front_proxy.key}",
    ]


def controller_manager(
    kubeconfig: Path, accounts_key: Path, authority: Path, controllers: Sequence[str], port: int
) -> list[str]:
    """The controllers; `port` 0 serves no health and metrics."""
    return [
        "kube-controller-manager",
        f"--kubeconfig={kubeconfig}",
        f"--authentication-kubeconfig={kubeconfig}",
        f"--authorization-kubeconfig={kubeconfig}",
        f"--service-account-private-key-file={accounts_key}",
        f"--root-ca-file={authority}",
        f"--controllers={','.join(controllers)}",
        "--use-service-account-credentials",
        "--kube-api-qps=200",  # the defaults, meant for shared servers, delay the start by seconds
        "--kube-api-burst=400",
        "--leader-elect=false",
        "--bind-address=127.0.0.1",
        f"--secure-port={port}",
    ]


def scheduler(kubeconfig: Path) -> list[str]:
    return [
        "kube-scheduler",
        f"--kubeconfig={kubeconfig}",
        f"--authentication-kubeconfig={kubeconfig}",
        f"--authorization-kubeconfig={kubeconfig}",
        "--leader-elect=false",
        "--bind-address=127.0.0.1",
    ]
